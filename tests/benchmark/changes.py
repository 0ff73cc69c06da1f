"""Snapshots: their time must not depend on the size of the root."""

from .commands import traced_library
from .judge import missed
from .measure import Sample
from .rows import SMALL, Outcome, of
from .stock import CONFIG

# Copies of /usr, about 0.4 GB each, besides the root itself; with any, 2 GB in a file, too.
COPIES = {"small": 0, "large": 4}


def changes(bench, place, wanted):
    """Rows `snapshot-*`, `rollback-*` and `clean-*`."""
    stock, found, outcomes = bench.stock(place), {}, []
    for size, copies in COPIES.items():
        # the small root is what the large one is compared with
        bench.tell(f"snapshots of a {size} root")
        found[size], _ = bench.library(place, stock.work, "changes", CONFIG, str(bench.rounds),
                                       str(copies))
    for name in wanted:
        verb, size = name.split("-")
        row = of(name)
        series = {row.ours: [Sample(seconds) for seconds in found[size][verb]]}
        if size != "small":
            series[SMALL] = [Sample(seconds) for seconds in found["small"][verb]]
        outcome = Outcome(row, place.user, series)
        if missed(outcome):
            # of the small root, whatever the row: filling another one takes long
            arguments = ["changes", CONFIG, "1", str(COPIES["small"])]
            outcome.calls = traced_library(bench, place, stock.work, verb, arguments)
        outcomes.append(outcome)
    return outcomes
