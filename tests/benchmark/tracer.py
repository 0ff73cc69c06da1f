"""Records what the kernel sees of a run: system calls, and who runs, sleeps, and wakes whom.

It uses tracefs alone (ftrace, Documentation/trace/ftrace.rst of the kernel), whose events cost a
microsecond or less, where a tracer by ptrace would make each call ten times as slow and runs of
milliseconds something else. Processes are found by descent from this one; times are of the clock
that `time.perf_counter` reads.
"""

import contextlib
import os

from . import Failure, chain

TRACEFS = "/sys/kernel/tracing"
CALLS = ["sched/sched_switch", "sched/sched_waking", "syscalls"]
DESCENT = ["sched/sched_process_fork", "sched/sched_process_exec"]
# Of each processor, in KiB: an import makes some hundred thousand events.
ROOM = {"calls": 96 * 1024, "descent": 1024}


class Tracer:
    """Two buffers of the kernel: of what happens while the switch is on, and of all descent."""

    def __init__(self):
        self.folders, self.switch = {}, None
        for name, events in (("calls", CALLS), ("descent", DESCENT)):
            folder = f"{TRACEFS}/instances/debmock-bench.{os.getpid()}.{name}"
            os.mkdir(folder)
            self.folders[name] = folder
            self._set(name, "tracing_on", "0")
            self._set(name, "trace_clock", "mono")
            self._set(name, "buffer_size_kb", str(ROOM[name]))
            # this thread's children, and theirs, from when they are forked on
            self._set(name, "options/event-fork", "1")
            self._set(name, "set_event_pid", str(os.getpid()))
            for event in events:
                self._set(name, f"events/{event}/enable", "1")
        # whoever is to turn it on and off, the user for one, gets it open
        self.switch = os.open(f"{self.folders['calls']}/tracing_on", os.O_WRONLY)
        self._set("descent", "tracing_on", "1")

    def _set(self, name, file, value):
        with open(f"{self.folders[name]}/{file}", "w") as opened:
            opened.write(value)

    def turn(self, on):
        os.write(self.switch, b"1" if on else b"0")

    def divisions(self, windows, process):
        """Where the time of each kind of window went: a Division by name.

        `windows` are [begin, end] by name, all of the main thread of `process`.
        """
        self.turn(False)
        self._set("descent", "tracing_on", "0")
        for name, folder in self.folders.items():
            for cpu in os.listdir(f"{folder}/per_cpu"):
                with open(f"{folder}/per_cpu/{cpu}/stats") as file:
                    lost = [line for line in file if line.startswith(("overrun:", "dropped"))]
                if any(int(line.split(":")[1]) for line in lost):
                    raise Failure(f"the kernel's buffer of {name} was too small")
        with open(f"{self.folders['descent']}/trace", errors="replace") as file:
            family = chain.Family(file, process)
        with open(f"{self.folders['calls']}/trace", errors="replace") as file:
            return chain.divide(file, family, windows)

    def close(self):
        if self.switch is not None:
            os.close(self.switch)
        for folder in self.folders.values():
            os.rmdir(folder)


class Blind:
    """Stands for a tracer where there is none."""

    switch = None

    def turn(self, on):
        pass

    def divisions(self, windows, process):
        return {}


@contextlib.contextmanager
def tracer():
    """A tracer for as long as the block runs. Raises Failure where the kernel has none."""
    made = None
    try:
        made = Tracer.__new__(Tracer)
        made.__init__()
    except OSError as error:
        with contextlib.suppress(OSError):
            made.close()
        raise Failure(f"the kernel's tracefs cannot be used: {error.strerror}") from error
    try:
        yield made
    finally:
        made.close()
