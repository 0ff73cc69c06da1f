"""Divides a stretch of time among those who were at work on it.

From its end back to its begin: as long as a thread runs, the time is its own, in the system call
in which it is or outside of any. Where it had slept, the time until it ran again belongs to the
scheduler, and before that to whoever woke it; if that was no process of the run but a device, a
timer or the kernel, the sleep itself counts as waiting in that system call. What others do
meanwhile, such as a deletion beside the work, was not waited for and does not count.
"""

import bisect
import collections
import dataclasses
import re

LINE = re.compile(r"^\s*(?P<name>.+)-(?P<pid>\d+)\s+\[\d+\]\s+(?P<flags>\S+)\s+(?P<at>[0-9.]+): "
                  r"(?P<what>.*)$")
SWITCH = re.compile(r"^sched_switch: .*prev_pid=(\d+) prev_prio=\d+ prev_state=(\S+) ==> .*"
                    r"next_pid=(\d+) ")
WAKING = re.compile(r"^sched_waking: .* pid=(\d+) ")
ENTER = re.compile(r"^sys_([a-z0-9_]+)\(")
EXIT = re.compile(r"^sys_([a-z0-9_]+) -> ")
FORK = re.compile(r"^sched_process_fork: .* child_pid=(\d+)")
EXEC = re.compile(r"^sched_process_exec: filename=(.*) pid=(\d+) old_pid=\d+")

KINDS = {
    "fork, exec, exit": "clone clone3 fork vfork execve execveat exit exit_group wait4 waitid "
                        "mmap munmap mprotect brk arch_prctl set_tid_address set_robust_list rseq "
                        "pidfd_open pidfd_send_signal kill",
    "mounts, namespaces": "mount move_mount open_tree fsopen fsmount fsconfig fspick pivot_root "
                          "mount_setattr unshare setns chroot open_tree_attr",
    "umount": "umount umount2",
    "renames": "rename renameat renameat2",
    "fsync": "fsync fdatasync sync syncfs msync sync_file_range",
    "ids, signals, limits": "prctl seccomp capset capget rt_sigaction rt_sigprocmask setuid setgid "
                            "setresuid setresgid setgroups setsid prlimit64 setpriority ioprio_set "
                            "umask sigaltstack sched_setscheduler sched_setaffinity",
    "messages": "sendmsg recvmsg sendto recvfrom socket socketpair connect bind listen accept "
                "accept4 shutdown poll ppoll epoll_wait epoll_pwait epoll_ctl epoll_create1 pipe2 "
                "eventfd2 futex select pselect6 getsockopt setsockopt signalfd4",
    "time": "nanosleep clock_nanosleep",
}
KIND = {call: kind for kind, calls in KINDS.items() for call in calls.split()}
OWN, FILES = "its own code", "files"
RUN, READY, WAIT, UNKNOWN = "runs", "ready", "waits", "unknown"
CALLER, HELPER, KEEPER, FORKED, NEXT, COMMAND = (
    "caller", "helper", "keeper", "a process of the helper", "the process that becomes the command",
    "the command")
PROGRAM = "debmock-helper"


@dataclasses.dataclass
class Part:
    who: str
    what: str
    seconds: float
    whose: str


@dataclasses.dataclass
class Division:
    """Means of so many times: seconds in all, and parts, the longest first."""

    times: int
    seconds: float
    parts: list


class Family:
    """Who is whose child, and what it is for us."""

    def __init__(self, lines, root):
        self.root, self.parent, self.born = root, {}, {}
        self.execs = collections.defaultdict(list)
        for line in lines:
            found = LINE.match(line)
            if not found:
                continue
            at, what = float(found["at"]), found["what"]
            if fork := FORK.match(what):
                child = int(fork[1])
                self.parent[child], self.born[child] = int(found["pid"]), at
            elif begun := EXEC.match(what):
                self.execs[int(begun[2])].append((at, begun[1]))
        self.runs_others = {self.parent.get(pid) for pid, execs in self.execs.items()
                            if not execs[-1][1].endswith(PROGRAM)}

    def has(self, pid):
        while pid != self.root and pid in self.parent:
            pid = self.parent[pid]
        return pid == self.root

    def role(self, pid, at):
        """What a thread is at a time."""
        if pid == self.root:
            return CALLER
        execs = self.execs.get(pid, [])
        before = [name for when, name in execs if when <= at]
        if before:
            # programs that a helper starts outside of roots count as its own
            above = self.role(self.parent[pid], at)
            if before[-1].endswith(PROGRAM):
                return HELPER
            return above if above in (CALLER, HELPER) else COMMAND
        above = self.role(self.parent[pid], at) if pid in self.parent else CALLER
        if execs:
            return HELPER if execs[0][1].endswith(PROGRAM) else NEXT
        if above in (HELPER, FORKED):
            return KEEPER if pid in self.runs_others else FORKED
        if above == KEEPER:
            # forked ahead for a command that nobody has asked for yet
            return NEXT
        return above


class Thread:
    """What is known of one thread in one stretch of time."""

    def __init__(self):
        self.runs, self.wakings, self.calls = [], [], []
        self._since, self._call = None, None

    def on(self, at):
        self._since = at

    def off(self, at, state):
        # who runs at the begin was never seen to come
        self.runs.append((float("-inf") if self._since is None and not self.runs else self._since,
                          at, state))
        self._since = None

    def enter(self, at, name):
        self._call = (at, name)

    def leave(self, at, name):
        begin = self._call[0] if self._call else (float("-inf") if not self.calls else at)
        self.calls.append((begin, at, name))
        self._call = None

    def end(self, seen):
        if self._since is not None or (not self.runs and seen):
            self.runs.append((float("-inf") if self._since is None else self._since, float("inf"),
                              ""))
        if self._call:
            self.calls.append((self._call[0], float("inf"), self._call[1]))
        self.runs = [run for run in self.runs if run[0] is not None]


def mean(divisions):
    """One division of several; None of none."""
    if not divisions:
        return None
    sums, times = collections.Counter(), sum(division.times for division in divisions)
    for division in divisions:
        for part in division.parts:
            sums[part.who, part.what, part.whose] += part.seconds * division.times / times
    return Division(times, sum(d.seconds * d.times for d in divisions) / times,
                    [Part(who, what, spent, whose)
                     for (who, what, whose), spent in sums.most_common()])


def divide(lines, family, windows):
    """Divisions by name of what lies in [begin, end] of each name's windows."""
    spans = sorted((begin, end, name) for name, all_of in windows.items() for begin, end in all_of)
    begins = [begin for begin, _, _ in spans]
    threads = [collections.defaultdict(Thread) for _ in spans]
    for line in lines:
        found = LINE.match(line)
        if not found:
            continue
        at = float(found["at"])
        # the clock of the trace is cut to microseconds
        number = bisect.bisect_right(begins, at + 2e-6) - 1
        if number < 0 or at > spans[number][1] + 1e-3:
            continue
        note(threads[number], int(found["pid"]), found["flags"], at, found["what"])
    sums, walls = collections.defaultdict(collections.Counter), collections.Counter()
    for (begin, end, name), mine in zip(spans, threads):
        for thread in mine.values():
            thread.end(True)
        for who, what, whose, spent in chained(mine, family, begin, end):
            sums[name][who, what, whose] += spent
        walls[name] += end - begin
    return {name: Division(len(windows[name]), walls[name] / len(windows[name]),
                           [Part(who, what, spent / len(windows[name]), whose)
                            for (who, what, whose), spent in parts.most_common()])
            for name, parts in sums.items()}


def note(threads, pid, flags, at, what):
    """One event of the kernel."""
    if switch := SWITCH.match(what):
        threads[int(switch[1])].off(at, switch[2])
        threads[int(switch[3])].on(at)
    elif waking := WAKING.match(what):
        # the third flag: in an interrupt
        device = flags[2] in "hsHZz" if len(flags) > 2 else False
        threads[int(waking[1])].wakings.append((at, None if device else pid))
    elif enter := ENTER.match(what):
        threads[pid].enter(at, enter[1])
    elif leave := EXIT.match(what):
        threads[pid].leave(at, leave[1])


def chained(threads, family, begin, end):
    """[(who, what, whose, seconds)] from the end back to the begin."""
    found, pid, at = [], family.root, end

    def add(kind, start, stop):
        start = max(start, begin)
        if stop > start:
            found.extend(named(family.role(pid, stop), kind, threads[pid], start, stop))

    while at > begin:
        thread = threads[pid]
        runs = [run for run in thread.runs if run[0] < at]
        if not runs:
            add(UNKNOWN, begin, at)
            break
        start, stop, state = runs[-1]
        if stop < at:
            # it had ended, and was waited for by somebody who is not seen
            add(READY if state.startswith("R") else WAIT, stop, at)
            at = stop
        add(RUN, start, at)
        at = start
        if at <= begin:
            break
        if len(runs) < 2:
            # its first time: it was just forked, or had slept from before the begin
            born = family.born.get(pid)
            woken = last_before(thread.wakings, at, float("-inf"))
            if born is not None and born > begin and family.has(family.parent[pid]):
                add(READY, born, at)
                pid, at = family.parent[pid], born
                continue
            slept = float("-inf")
        else:
            _, slept, state = runs[-2]
            if state.startswith("R"):
                add(READY, slept, at)
                at = slept
                continue
            woken = last_before(thread.wakings, at, slept)
        if woken is None:
            add(UNKNOWN, slept, at)
            at = slept
            continue
        when, waker = woken
        add(READY, when, at)
        at = when
        if waker is not None and waker != pid and family.has(waker):
            pid = waker
        else:
            add(WAIT, slept, when)
            at = slept
    return found


def last_before(wakings, at, after):
    """The first waking of the last sleep: later ones found it awake."""
    return next(((when, waker) for when, waker in wakings if after <= when <= at), None)


def named(role, kind, thread, start, stop):
    """A stretch of one thread by what it did."""
    if kind == READY:
        return [(role, "waits for a processor", "the machine", stop - start)]
    if kind == UNKNOWN:
        return [(role, "not seen in the trace", "unknown", stop - start)]
    ours = COMMAND if role == COMMAND else "debmock"
    found, at = [], start
    for begin, end, call in thread.calls:
        if end <= start or begin >= stop:
            continue
        begin, end = max(begin, at), min(end, stop)
        if end <= begin:
            continue
        if begin > at:
            found.append((role, OWN, ours, begin - at))
        found.append(called(role, kind, call, end - begin))
        at = end
    if stop > at:
        found.append((role, OWN, ours, stop - at) if kind == RUN else
                     (role, "sleeps outside of system calls (pages)", "disk or lock", stop - at))
    return found


def called(role, kind, call, seconds):
    group = KIND.get(re.sub(r"^new", "", call), FILES)
    if kind == WAIT:
        return role, f"sleeps in {call}", "disk, timer or lock", seconds
    owner = "kernel for the command" if role == COMMAND else "kernel for debmock"
    return role, group, owner, seconds

