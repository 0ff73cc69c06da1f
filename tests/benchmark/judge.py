"""Whether a row met its targets: medians of what rounds say, never a spread, which is shown only."""

import dataclasses
import statistics

from .rows import Target

# from how many samples on quartiles are the spread
MANY = 10


@dataclasses.dataclass
class Verdict:
    """A target and what came of it: `value` is a ratio, seconds or megabytes, as the target is."""

    target: Target
    value: float
    low: float
    high: float
    met: bool
    stretch_met: bool = False
    beside: str = ""
    largest: float | None = None


def seconds(samples):
    return [sample.seconds for sample in samples]


def spread(values):
    """Median, and the smallest and the largest; of many the quartiles, which a single fault of
    the machine does not move."""
    if len(values) < MANY:
        return statistics.median(values), min(values), max(values)
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, low, high


def judge(outcome):
    """The verdicts of a row, without those whose contender was left out."""
    ours = outcome.series.get(outcome.row.ours, [])
    found = []
    for target in outcome.row.targets:
        theirs = outcome.series.get(target.against, [])
        if target.what == "memory":
            weights = [sample.own_memory / 1e6 for sample in ours if sample.own_memory]
            if weights:
                middle, low, high = spread(weights)
                found.append(Verdict(target, middle, low, high, middle <= target.limit))
        elif target.what == "disk":
            ratio = outcome.disk_ratio
            if ratio is not None:
                found.append(Verdict(target, ratio, ratio, ratio, ratio <= target.limit))
        elif target.what == "waits":
            waits = outcome.waits
            if waits is not None:
                found.append(Verdict(target, waits, waits, waits, waits <= target.limit))
        elif not ours or (target.against and not theirs):
            continue
        elif not target.against:
            values = seconds(ours)
            middle, low, high = spread(values)
            found.append(Verdict(target, middle, low, high, middle <= target.limit,
                                 largest=max(values)))
        elif target.what == "same":
            middle, low, high = spread(seconds(ours))
            other = statistics.median(seconds(theirs))
            found.append(Verdict(target, middle / other, low / other, high / other,
                                 middle / other <= target.limit))
        elif target.what == "added":
            gaps = [one - two for one, two in zip(seconds(ours), seconds(theirs))]
            middle, low, high = spread(gaps)
            found.append(Verdict(target, middle, low, high, middle <= target.limit))
        else:
            pairs = list(zip(seconds(ours), seconds(theirs)))
            middle, low, high = spread([one / two for one, two in pairs])
            allowed = statistics.median(one - target.limit * two for one, two in pairs)
            met = allowed <= target.seconds if target.seconds else middle <= target.limit
            verdict = Verdict(target, middle, low, high, met,
                              bool(target.stretch and middle <= target.stretch))
            if target.seconds:
                verdict.beside = f"{allowed:+.2f} s to {target.limit:g} × the other"
            found.append(verdict)
    return found


def unjudged(outcome):
    """The targets of a row that were not judged, since something for them was not measured."""
    judged = [verdict.target for verdict in judge(outcome)]
    return [target for target in outcome.row.targets if target not in judged]


def missed(outcome):
    return any(not verdict.met for verdict in judge(outcome))
