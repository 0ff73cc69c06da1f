"""Snapshots: their time must not depend on the size of the root."""

import dataclasses

from .judge import missed
from .measure import Sample
from .rows import DIRTY_LEAST, DIRTY_ROUNDS, SMALL, Outcome, of
from .stock import CONFIG

# Copies of /usr, about 0.4 GB each, besides the root itself, and a file of 2 GB.
COPIES = 4
# How often each is done under a trace, after all that counts.
TRACED = 3


def changes(bench, place, wanted):
    """Rows `snapshot-*`, `rollback-*` and `clean-*`."""
    stock, outcomes = bench.stock(place), []
    rounds = max(DIRTY_LEAST, DIRTY_ROUNDS * bench.rounds)
    bench.tell(f"{rounds} snapshots of a small and of a large root")
    with bench.traced(place) as tracer:
        found, whole = bench.library(place, stock.work, "changes", CONFIG, str(rounds),
                                     str(TRACED), str(COPIES), tracer=tracer)
        divisions = tracer.divisions(found["traced"], found["process"])
    for name in wanted:
        verb, size = name.split("-")
        row = of(name)
        series = {row.ours: [Sample(seconds) for seconds in found[size][verb]]}
        series[row.ours][0] = dataclasses.replace(series[row.ours][0], memory=whole.memory,
                                                  own_memory=whole.own_memory)
        if size != "small":
            series[SMALL] = [Sample(seconds) for seconds in found["small"][verb]]
        outcome = Outcome(row, place.user, series,
                          [f"{rounds} rounds; memory is that of Python with both roots, and of dd "
                           "and cp"])
        if missed(outcome):
            outcome.division = divisions.get(f"{verb}-{size}")
        outcomes.append(outcome)
    return outcomes
