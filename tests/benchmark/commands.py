"""One command in a root that exists: as a program, and in this very process."""

import contextlib
import os

from . import Failure, measure, tools
from .judge import missed
from .measure import Sample
from .rows import ANEW, BWRAP, OURS, SHORT_LEAST, SHORT_ROUNDS, STOOD, Outcome, of
from .stock import CONFIG

# The first runs read programs from the disk.
WARM = 3
# How often each is done under a trace, after all that counts.
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
                          ["memory is that of a sleep in place of true"])
        if missed(outcome):
            outcome.division = bench.divided(place, ours("true"), stock.work, times=TRACED)
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
    arguments = ["latency", CONFIG, str(rounds + WARM), str(TRACED), *stock.bwrap("true")]
    with bench.traced(place) as tracer:
        times, whole = bench.library(place, stock.work, *arguments, tracer=tracer)
        divisions = tracer.divisions(times["traced"], times["process"])
    outcomes = []
    for name in wanted:
        parts = {OURS: name, BWRAP: "other"}
        if name == "fresh":
            parts |= {STOOD: "stood", ANEW: "anew"}
        series = {who: [Sample(seconds) for seconds in times[part][WARM:]]
                  for who, part in parts.items()}
        series[OURS][0].memory, series[OURS][0].own_memory = whole.memory, whole.own_memory
        outcome = Outcome(of(name), place.user, series,
                          ["memory is that of Python with the module, and of its session"])
        if name == "fresh":
            outcome.notes.append(
                f"“{STOOD}” is without clean() and the choice of the base: what a root costs that "
                f"already stands on its base; “{ANEW}” makes, besides, a Buildroot, with a helper "
                "of its own, and closes it")
        if missed(outcome):
            outcome.division = divisions.get(name)
        outcomes.append(outcome)
    return outcomes


def short(rounds):
    return max(SHORT_LEAST, SHORT_ROUNDS * rounds)
