"""Where the time of a run went: stages that debmock reports, and system calls that strace sees."""

import collections
import json
import os
import re
import tempfile

from . import Failure, measure

# Whose time a stage's is. All others, and what lies between them, are debmock's own.
OTHERS = {
    "preinst": "maintainer scripts",
    "configure": "maintainer scripts",
    "apply": "apt, dpkg and maintainer scripts",
    "build": "dpkg-buildpackage",
    "fetch": "the mirror",
}
# Stages of the same name, in which programs inside the root work there.
IN_BUILDS = {"resolve": "apt in the root", "unpack": "dpkg-source"}
OURS = "debmock"
# as in library.py
MARK = "/debmock-bench"
# Calls in which a process waits for another one: their time is counted where that works.
WAITS = re.compile(r"^(wait4|waitid|poll|ppoll|epoll_.*|select|pselect6|futex|recvmsg|recvfrom|read|"
                   r"pause|rt_sigtimedwait|nanosleep|clock_nanosleep|restart_syscall|accept4?|"
                   r"exit|exit_group)$")


def stages(path, seconds):
    """Seconds by stage from the JSON events of one run, each without the stages in it, and what
    lies outside all of them."""
    own, stack, covered = collections.Counter(), [], 0.0
    with open(path) as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            kind = event.get("event")
            if kind == "stage_started":
                stack.append([event["stage"], 0.0])
            elif kind == "stage_finished" and any(event["stage"] == name for name, _ in stack):
                at = max(i for i, (name, _) in enumerate(stack) if name == event["stage"])
                name, inner = stack.pop(at)
                # what is done of it natively has stages of its own
                inside = "apply/" if any(outer == "apply" for outer, _ in stack[:at]) else ""
                own[inside + name] += max(0.0, event["seconds"] - inner)
                if at:
                    stack[at - 1][1] += event["seconds"]
                else:
                    covered += event["seconds"]
    own["start, end, between stages"] = max(0.0, seconds - covered)
    return dict(own)


def whose(stage, group):
    """Whose time a stage of a row of that group is."""
    if group == "build" and stage in IN_BUILDS:
        return IN_BUILDS[stage]
    return OTHERS.get(stage.removeprefix("apply/"), OURS)


def calls(place, words, work, more, between=None):
    """The system calls that take most time, in all processes, without those that wait:
    [(name, count, seconds)], with further variables. strace makes each of them slower.

    `between` is a name that library.py marks: only what happens from its begin to its end counts.
    """
    more = dict(more, DEBMOCK_BENCH_TRACED="1")
    with tempfile.TemporaryDirectory(prefix="strace.", dir=work) as folder:
        output = os.path.join(folder, "calls")
        # by root, as which programs that the user runs may still be setuid
        tracer = ["strace", "-f", "-qq", "-T", "-o", output]
        user = [] if place.is_root else ["-u", place.user]
        _, status, said = measure.run(tracer + user + words, place.environment(work, **more), work,
                                      weigh=False)
        if status:
            raise Failure(f"strace ended with {status}: {measure.gist(said)}")
        counts, seconds = collections.Counter(), collections.Counter()
        pattern = re.compile(r"^\d+\s+(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed).*<([0-9.]+)>$")
        within = between is None
        with open(output, errors="replace") as file:
            for line in file:
                if between and f'"{MARK}/' in line:
                    within = f"{MARK}/begin/{between}" in line
                    continue
                found = within and pattern.match(line.strip())
                if found and not WAITS.match(found.group(1)):
                    counts[found.group(1)] += 1
                    seconds[found.group(1)] += float(found.group(2))
    return [(name, counts[name], spent) for name, spent in seconds.most_common(8)]
