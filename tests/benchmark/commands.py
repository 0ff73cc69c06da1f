"""One command in a root that exists: as a program, and in this very process."""

import contextlib
import os

from . import Failure, measure, tools, trace
from .judge import missed
from .measure import Sample
from .rows import BWRAP, OURS, SHORT_LEAST, SHORT_ROUNDS, Outcome, of
from .stock import CONFIG

# The first runs read programs from the disk.
WARM = 3
# How often what missed its target is done under strace.
TRACED = 10
# schroot reads sessions' definitions only there; the file is removed at the end.
SCHROOT = "/etc/schroot/chroot.d"


def command(bench, place, wanted):
    """Row `chroot`."""
    stock, rounds = bench.stock(place), short(bench.rounds)

    def ours(*inside):
        return [bench.debmock, "-q", "-r", CONFIG, "chroot", "--", *inside]

    runs = {OURS: ours}
    if tools.find("bwrap"):
        runs[BWRAP] = stock.bwrap
    else:
        bench.leave_out("bubblewrap", "it is missing; tests/bench --prepare brings it")
    with contextlib.ExitStack() as stack:
        try:
            runs["schroot, overlay"] = stack.enter_context(schroot(place, stock))
        except Failure as why:
            bench.leave_out(f"schroot as {place.user}", str(why))

        def contender(words):
            return lambda _number: place.run(words("true"), stock.work, weigh=False)

        quiet = measure.alternate(bench, {n: contender(w) for n, w in runs.items()},
                                  rounds + WARM, quiet=True)
        series = {name: samples[WARM:] for name, samples in quiet.items()}
        # too short to be weighed
        for name in series:
            heavy = place.run(runs[name]("sleep", "0.7"), stock.work)
            series[name][0].memory = heavy.memory
            series[name][0].own_memory = heavy.own_memory
    outcome = Outcome(of("chroot"), place.user, series,
                      ["memory is that of a sleep in place of true; schroot: begins a session with "
                       "an overlay, runs, ends it"])
    if missed(outcome):
        outcome.calls = traced(bench, place, ours("true"), stock.work)
    return [outcome]


@contextlib.contextmanager
def schroot(place, stock):
    """A chroot of that tree with an overlay, for as long as the block runs."""
    if not tools.find("schroot"):
        raise Failure("it is missing; tests/bench --prepare brings it")
    name = f"debmock-bench-{os.getpid()}"
    path = f"{SCHROOT}/{name}"
    with open(path, "w") as file:
        file.write(f"[{name}]\ntype=directory\ndirectory={stock.root}\nunion-type=overlay\n"
                   f"users={place.user}\nroot-users={place.user}\nprofile=minimal\n")
    try:
        def words(*inside):
            return ["schroot", "-q", "-d", "/", "-c", name, "--", *inside]

        place.run(words("true"), stock.work, weigh=False)
        yield words
    finally:
        os.unlink(path)


def library(bench, place, wanted):
    """Rows `fresh` and `more`."""
    stock, rounds = bench.stock(place), short(bench.rounds)
    if not tools.find("bwrap"):
        raise Failure("bubblewrap is missing; tests/bench --prepare brings it")
    arguments = ["latency", CONFIG, str(rounds + WARM), *stock.bwrap("true")]
    times, whole = bench.library(place, stock.work, *arguments)
    outcomes = []
    for name in wanted:
        series = {OURS: [Sample(seconds) for seconds in times[name][WARM:]],
                  BWRAP: [Sample(seconds) for seconds in times["other"][WARM:]]}
        series[OURS][0].memory, series[OURS][0].own_memory = whole.memory, whole.own_memory
        outcome = Outcome(of(name), place.user, series,
                          ["memory is that of Python with the module, and of its session"])
        if missed(outcome):
            arguments[2] = str(TRACED)
            outcome.calls = traced_library(bench, place, stock.work, name, arguments)
            outcome.notes.append(f"the trace is of {TRACED} times")
        outcomes.append(outcome)
    return outcomes


def traced_library(bench, place, work, name, arguments):
    """System calls of one part of library.py by time."""
    words = [bench.python, os.path.join(bench.base, "library.py"), *arguments]
    return traced(bench, place, words, work, bench.python_environment(), name)


def traced(bench, place, words, work, more=None, between=None):
    """System calls by time, or nothing without strace."""
    if not tools.find("strace"):
        bench.leave_out("traces of system calls", "strace is missing; tests/bench --prepare")
        return []
    try:
        return trace.calls(place, words, work, more or {}, between)
    except Failure as why:
        bench.leave_out(f"a trace of system calls as {place.user}", str(why))
        return []


def short(rounds):
    return max(SHORT_LEAST, SHORT_ROUNDS * rounds)
