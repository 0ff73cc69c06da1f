"""Runs, weighs and alternates.

A run is a `Sample`: wall seconds, seconds of processors, peak memory of the whole process tree
(pages that processes share are divided among them, Pss of proc(5)), bytes allocated on the disk.
Long runs are weighed while they are timed, five times a second, all tools alike; short ones only by
what the kernel counts anyway.
"""

import dataclasses
import os
import re
import statistics
import subprocess
import threading
import time

from . import Failure

INTERVAL = 0.2


@dataclasses.dataclass
class Sample:
    """One run. Bytes are None where they were not measured."""

    seconds: float
    processor: float = 0.0
    memory: int | None = None
    own_memory: int | None = None
    disk: int | None = None
    process: int | None = None


def tree(root):
    """Process ids of a process and its descendants, with their names."""
    parents, names = {}, {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(") ", 1)
        except (OSError, IndexError):
            continue
        parents[int(entry)], names[int(entry)] = int(rest.split()[1]), name
    found = {}
    for pid, name in names.items():
        at = pid
        while at not in (0, root):
            at = parents.get(at, 0)
        if at == root:
            found[pid] = name
    return found


def resident(pid):
    """A process's share of memory in bytes."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            line = next((line for line in file if line.startswith("Pss:")), None)
        return int(line.split()[1]) * 1024 if line else 0
    except (OSError, ValueError):
        return 0


class Scales:
    """Weighs a process tree beside its run."""

    def __init__(self, pid):
        self.pid, self.all, self.own = pid, 0, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.ended.wait(INTERVAL):
            everything = own = 0
            for pid, name in tree(self.pid).items():
                size = resident(pid)
                everything += size
                own += size if name.startswith("debmock") else 0
            self.all, self.own = max(self.all, everything), max(self.own, own)

    def end(self):
        self.ended.set()
        self.thread.join()


def run(words, environment, folder, output=None, weigh=True, keep=()):
    """Runs a command. Its sample, its status, and the end of what it said to standard error.

    `output` is an open file for its standard output, which is dropped otherwise; `keep` are
    descriptors that it gets.
    """
    errors_read, errors_write = os.pipe()
    kept = bytearray()

    def drain():
        while chunk := os.read(errors_read, 65536):
            kept.extend(chunk)
            del kept[:-20000]

    start = time.perf_counter()
    process = subprocess.Popen(words, env=environment, cwd=folder, stdin=subprocess.DEVNULL,
                               stdout=output or subprocess.DEVNULL, stderr=errors_write,
                               pass_fds=keep)
    os.close(errors_write)
    drainer = threading.Thread(target=drain, daemon=True)
    drainer.start()
    scales = Scales(process.pid) if weigh else None
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        # somebody ends this program: nothing may go on in what is removed next
        process.terminate()
        process.wait(timeout=30)
        raise
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    sample = Sample(seconds, usage.ru_utime + usage.ru_stime, process=process.pid)
    if scales:
        scales.end()
        if scales.all:
            sample.memory, sample.own_memory = scales.all, scales.own or None
    # a process that was left behind may keep the pipe open
    drainer.join(timeout=1)
    if not drainer.is_alive():
        os.close(errors_read)
    return sample, process.returncode, kept.decode(errors="replace")


def gist(said):
    """What a program that failed said, in a line: where it says an error first or last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(E|error|[a-z0-9-]+):", line)]
    chosen = errors[-1:] if errors and not said.startswith("Traceback") else lines[-1:]
    return chosen[0][:400] if chosen else "it said nothing"


def allocated(path):
    """Bytes that a file or directory takes on the disk, each file once however often it is
    linked."""
    seen, total, stack = set(), 0, [path]
    while stack:
        at = stack.pop()
        try:
            status = os.lstat(at)
            if os.path.isdir(at) and not os.path.islink(at):
                stack.extend(entry.path for entry in os.scandir(at))
        except OSError:
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


def alternate(bench, contenders, rounds=None, quiet=False):
    """Runs all contenders in each round, another one first each time, so that none always finds
    the caches of its predecessor: their samples by name.

    A contender is a function of the round; None from it is no sample of that round. One that fails
    is left out from then on, with what it did before.
    """
    names = list(contenders)
    series = {name: [] for name in names}
    for number in range(rounds or bench.rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            if name not in series:
                continue
            try:
                sample = contenders[name](number)
            except Failure as why:
                del series[name]
                bench.fail(f"{name} as {bench.user}", why)
                continue
            if sample is not None:
                series[name].append(sample)
                if not quiet:
                    bench.tell(f"round {number + 1}: {name}: {sample.seconds:.4g} s")
    return {name: samples for name, samples in series.items() if samples}


def median(samples, field="seconds"):
    """The median of a field, without those that were not measured; None without any."""
    values = [getattr(sample, field) for sample in samples]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
