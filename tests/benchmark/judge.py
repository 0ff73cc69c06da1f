"""Whether a row met its targets: medians and spread of what rounds say."""

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
        elif not ours or (target.against and not theirs):
            continue
        elif not target.against:
            middle, low, high = spread(seconds(ours))
            found.append(Verdict(target, middle, low, high, middle <= target.limit))
        elif target.what == "same":
            middle, low, high = spread(seconds(ours))
            other, least, most = spread(seconds(theirs))
            # what repeats of one size differ by, the sizes may
            room = max(high - low, most - least)
            found.append(Verdict(target, middle / other, low / other, high / other,
                                 abs(middle - other) <= room))
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


def missed(outcome):
    return any(not verdict.met for verdict in judge(outcome))
