"""Times of the Python module, as JSON on standard output: run by tests/bench, as the user that is
measured, in a process without anything else.

  library.py latency CONFIG ROUNDS COMMAND…   `fresh`: a clean buildroot is opened and runs `true`;
                                              `more`: one more `true` in that session; `other`:
                                              the command
  library.py changes CONFIG ROUNDS COPIES     `snapshot`, `rollback`, `clean` of a root with so many
                                              copies of its /usr and a large file in it, and 1 GB of
                                              changes
  library.py eight CONFIG ROUNDS COUNT CORES  `sleep_one`, `sleep_all`, `work_one`, `work_all`: so
                                              many buildroots at once, each in a session of its own;
                                              `waits`: how often one told that it waits for another
  library.py bare CONFIG NAME PATH            dpkg-buildpackage in the buildroot NAME, where a
                                              rebuild has left the source package in PATH

Times are in seconds.
"""

import json
import os
import subprocess
import sys
import threading
import time

import debmock

# Paths that do not exist, for trace.py.
MARK = "/debmock-bench"
TRACED = "DEBMOCK_BENCH_TRACED" in os.environ
FILL = "dd if=/dev/zero of=/srv/fill bs=1M count=2048 status=none"
DIRTY = "dd if=/dev/zero of=/var/tmp/dirty bs=1M count=1024 status=none"
SLEEP = "sleep 1"
WORK = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"


def timed(work, name=None):
    """Seconds of some work. A tracer sees where what has a name begins and ends."""
    if name and TRACED:
        os.access(f"{MARK}/begin/{name}", os.F_OK)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    if name and TRACED:
        os.access(f"{MARK}/end/{name}", os.F_OK)
    return seconds


def shell(root, line):
    with root.session() as session:
        session.run(["sh", "-c", line], check=True)


def latency(config, rounds, *other):
    times = {"fresh": [], "more": [], "other": []}
    with debmock.Buildroot(config, uniqueext="latency") as root:
        root.init()
        session = None

        def fresh():
            nonlocal session
            session = root.session()
            session.run(["true"], check=True)

        def ours():
            root.clean()
            root.init()
            times["fresh"].append(timed(fresh, "fresh"))
            more = timed(lambda: session.run(["true"], check=True), "more")
            times["more"].append(more)
            session.close()

        def theirs():
            times["other"].append(timed(lambda: subprocess.run(other, check=True)))

        for number in range(int(rounds)):
            for part in (ours, theirs) if number % 2 else (theirs, ours):
                part()
    return times


def changes(config, rounds, copies):
    times = {"snapshot": [], "rollback": [], "clean": []}
    with debmock.Buildroot(config, uniqueext=f"changes-{copies}") as root:
        root.init()
        for number in range(int(copies)):
            shell(root, f"mkdir /srv/{number} && cp -a /usr /srv/{number}")
        if int(copies):
            shell(root, FILL)
        root.snapshot("filled")
        for number in range(int(rounds)):
            name = f"s{number}"
            shell(root, DIRTY)
            times["snapshot"].append(timed(lambda: root.snapshot(name), "snapshot"))
            shell(root, DIRTY)
            times["rollback"].append(timed(lambda: root.rollback(name), "rollback"))
            root.rollback("filled")
            root.remove_snapshot(name)
            shell(root, DIRTY)
            times["clean"].append(timed(root.clean, "clean"))
            root.init()
            root.rollback("filled")
        root.remove_snapshot("filled")
        root.clean()
    return times


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
