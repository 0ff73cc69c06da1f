"""Eight sessions on one base at once."""

import os

from . import measure
from .measure import Sample
from .rows import ONE, OURS, Outcome, of
from .stock import CONFIG

COUNT = 8


def eight(bench, place, wanted):
    """Rows `eight-sleep` and `eight-work`."""
    stock, cores = bench.stock(place), len(os.sched_getaffinity(0))
    folders = [f"{stock.work}/{name}" for name in ("cache", "state")]
    before = sum(map(measure.allocated, folders))
    times, whole = bench.library(place, stock.work, "eight", CONFIG, str(bench.rounds), str(COUNT),
                                 str(cores))
    after = sum(map(measure.allocated, folders))
    outcomes = []
    for name in wanted:
        kind = name.split("-")[1]
        shares = times["shares"] if kind == "work" else 1.0
        ours = [Sample(seconds / shares) for seconds in times[f"{kind}_all"]]
        ours[0].memory, ours[0].own_memory = whole.memory, whole.own_memory
        ours[0].disk = after - before
        series = {OURS: ours, ONE: [Sample(seconds) for seconds in times[f"{kind}_one"]]}
        notes = [f"told to wait for another: {times['waits']} times"]
        if kind == "work":
            notes.append(f"the time of all is divided by {shares:g}: {COUNT} computations on "
                         f"{cores} cores")
        ratio = after / before if kind == "sleep" else None
        waits = times["waits"] if kind == "sleep" else None
        outcomes.append(Outcome(of(name), place.user, series, notes, disk_ratio=ratio,
                                waits=waits))
    return outcomes
