"""Times of the Python module, as JSON on standard output: run by tests/bench, as the user that is
measured, in a process without anything else.

  library.py latency CONFIG ROUNDS TRACED COMMAND…
                                              `fresh`: clean(), session(), and `true` in it; `stood`:
                                              the same after init(), which is not timed; `anew`: with
                                              a new Buildroot; `more`: one more `true` in a session;
                                              `other`: the command
  library.py changes CONFIG ROUNDS TRACED COPIES
                                              of a `small` and a `large` root, which has so many
                                              copies of its /usr and a large file in it: `snapshot`,
                                              `rollback`, `clean` with 1 GB of changes
  library.py eight CONFIG ROUNDS COUNT CORES  `sleep_one`, `sleep_all`, `work_one`, `work_all`: so
                                              many buildroots at once, each in a session of its own;
                                              `waits`: how often one told that it waits for another
  library.py bare CONFIG NAME PATH            dpkg-buildpackage in the buildroot NAME, where a
                                              rebuild has left the source package in PATH

Times are in seconds. With a tracer, which DEBMOCK_BENCH_SWITCH says how to turn on, what is measured
is done TRACED times more at the end: `traced` are [begin, end] of these by name, and `process` is
this one.
"""

import json
import os
import subprocess
import sys
import threading
import time

import debmock

SWITCH = os.environ.get("DEBMOCK_BENCH_SWITCH")
FILL = "dd if=/dev/zero of=/srv/fill bs=1M count=2048 status=none"
DIRTY = "dd if=/dev/zero of=/var/tmp/dirty bs=1M count=1024 status=none"
SLEEP = "sleep 1"
WORK = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"


class Clock:
    """Times what is done, or traces it."""

    def __init__(self):
        self.times, self.traced, self.on = {}, {}, False
        self.switch = int(SWITCH) if SWITCH else None
        if self.switch is not None:
            os.set_inheritable(self.switch, False)

    def rounds(self, count, traced):
        """Numbers of the rounds; those at the end are traced."""
        for number in range(int(count)):
            yield number
        self.on = self.switch is not None
        for number in range(int(traced) if self.on else 0):
            yield number

    def time(self, name, work):
        if not self.on:
            self.times.setdefault(name, []).append(timed(work))
            return
        os.write(self.switch, b"1")
        start = time.perf_counter()
        work()
        self.traced.setdefault(name, []).append([start, time.perf_counter()])
        os.write(self.switch, b"0")


def timed(work):
    """Seconds of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def shell(root, line):
    with root.session() as session:
        session.run(["sh", "-c", line], check=True)


def settle(config):
    """Waits until what was removed is deleted: scrub does, whatever it scrubs."""
    with debmock.Buildroot(config, uniqueext="nothing") as nothing:
        nothing.scrub("chroot")


def latency(config, rounds, traced, *other):
    clock, session = Clock(), None

    def first():
        nonlocal session
        session = root.session()
        session.run(["true"], check=True)

    def fresh():
        root.clean()
        first()

    def ours():
        clock.time("fresh", fresh)
        clock.time("more", lambda: session.run(["true"], check=True))
        session.close()

    def stood():
        root.clean()
        root.init()
        clock.time("stood", first)
        session.close()

    def anew():
        with debmock.Buildroot(config, uniqueext="anew") as new:
            new.clean()
            with new.session() as own:
                own.run(["true"], check=True)

    def theirs():
        clock.time("other", lambda: subprocess.run(other, check=True))

    with debmock.Buildroot(config, uniqueext="latency") as root:
        root.init()
        parts = [ours, theirs, stood, lambda: clock.time("anew", anew)]
        for number in clock.rounds(rounds, traced):
            first_part = number % len(parts)
            for part in parts[first_part:] + parts[:first_part]:
                part()
    return clock.times | {"traced": clock.traced, "process": os.getpid()}


def changes(config, rounds, traced, copies):
    clock, found = Clock(), {"small": {}, "large": {}}
    roots = {size: debmock.Buildroot(config, uniqueext=f"changes-{size}") for size in found}

    def once(size):
        root = roots[size]

        def measured(verb, work):
            shell(root, DIRTY)
            settle(config)
            clock.time(f"{verb}-{size}", work)

        measured("snapshot", lambda: root.snapshot("one"))
        measured("rollback", lambda: root.rollback("one"))
        root.rollback("filled")
        root.remove_snapshot("one")
        measured("clean", root.clean)
        root.init()
        root.rollback("filled")

    for size, root in roots.items():
        root.init()
        if size == "large":
            for number in range(int(copies)):
                shell(root, f"mkdir /srv/{number} && cp -a /usr /srv/{number}")
            shell(root, FILL)
        root.snapshot("filled")
    sizes = list(roots)
    for number in clock.rounds(rounds, traced):
        for size in sizes if number % 2 else reversed(sizes):
            once(size)
    for root in roots.values():
        root.remove_snapshot("filled")
        root.clean()
        root.close()
    for name, times in clock.times.items():
        verb, size = name.split("-")
        found[size][verb] = times
    return found | {"traced": clock.traced, "process": os.getpid()}


def eight(config, rounds, count, cores):
    count, cores = int(count), int(cores)
    times = {"sleep_one": [], "sleep_all": [], "work_one": [], "work_all": []}
    waits = []
    roots = [debmock.Buildroot(config, uniqueext=f"eight-{n}") for n in range(count)]

    def notice(event):
        if isinstance(event, debmock.Waiting):
            waits.append(event.what)

    def one(root, line):
        with root.session(on_event=notice) as session:
            session.run(["sh", "-c", line], check=True)

    def together(line):
        failed = []

        def work(root):
            try:
                one(root, line)
            except debmock.Error as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(root,)) for root in roots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    for root in roots:
        root.init()
    for _ in range(int(rounds)):
        for name, line in (("sleep", SLEEP), ("work", WORK)):
            times[f"{name}_one"].append(timed(lambda: one(roots[0], line)))
            times[f"{name}_all"].append(timed(lambda: together(line)))
    for root in roots:
        root.close()
    # as many as there are cores could compute at once, if they did nothing else
    times["shares"] = max(1.0, count / cores)
    times["waits"] = len(waits)
    return times


def bare(config, name, path):
    build = {"LC_ALL": "C.UTF-8", "HOME": "/sbuild-nonexistent", "USER": "sbuild",
             "LOGNAME": "sbuild", "SHELL": "/bin/sh"}
    with debmock.Buildroot(config, uniqueext=name) as root, root.session() as session:
        def run(line, cwd):
            session.run(["sh", "-c", line], user="sbuild", cwd=cwd, env=build, check=True)

        session.run(["sh", "-c", f"rm -rf {path}/*/"], check=True)
        run("dpkg-source --no-check -x *.dsc source", path)
        words = "DEB_BUILD_OPTIONS=parallel=$(nproc) dpkg-buildpackage --sanitize-env -us -uc -b"
        return {"seconds": timed(lambda: run(words, f"{path}/source"))}


def main():
    work = {"latency": latency, "changes": changes, "eight": eight, "bare": bare}[sys.argv[1]]
    json.dump(work(*sys.argv[2:]), sys.stdout)


if __name__ == "__main__":
    main()
