"""A run as a table for people and as JSON. Neither names a host."""

import dataclasses
import json
import os
import statistics

from . import trace
from .judge import judge, seconds, spread
from .measure import median
from .mirror import hidden

SCHEMA = 2
JUDGED = """\
A ratio is the median of the rounds' ratios, and that median is what meets a target or misses it. \
Limits in milliseconds are judged by the median of the rounds; the largest of them stands beside. \
That a time does not depend on the size of a root is judged by the ratio of both medians: the large \
root may take 1.25 times as long as the small one. This room is fixed, since a room taken from the \
spread of the rounds would excuse a run by its own outliers; whatever grew with the root would take \
ten times as long. What is faster in the large root meets it."""
EXPLAINED = """\
Stages are those that debmock reports, medians of the rounds; `indexes` holds their transfer, \
`unpack` of a first root the wait for packages that are not there yet. Rows without stages that say \
enough are repeated under the kernel's own trace, after what counts: the time is followed from its \
end to its begin through whoever was waited for, so that what others do at the same time is not in \
it. The caller is the program or the Python with the library in it, the helper works for it, the \
keeper is process 1 of the session. Its own code is what a process computes between system calls, \
with the pages that it touches; the other lines of a process are what the kernel does for it in \
system calls. To sleep in one is to wait for the disk, a timer, or a lock of the kernel; to wait for \
a processor is the time from a waking to running, on a machine that does nothing else the price of a \
switch between processes."""


def time_of(value):
    """Seconds for people."""
    if value < 0.1:
        return f"{value * 1e3:.2f} ms"
    return f"{value:.2f} s"


def times(samples):
    middle, low, high = spread(seconds(samples))
    if len(samples) == 1:
        return time_of(middle)
    return f"{time_of(middle)} ({time_of(low)} – {time_of(high)})"


def megabytes(value):
    return "" if value is None else f"{value / 1e6:.0f} MB"


def measured(verdict):
    """A verdict's value with its spread."""
    what = verdict.target.what
    if what == "memory":
        return f"{verdict.value:.0f} MB"
    if what == "waits":
        return f"{verdict.value} waits"
    if what == "added" or not verdict.target.against:
        largest = f", largest {time_of(verdict.largest)}" if verdict.largest is not None else ""
        return time_of(verdict.value) + largest
    span = "" if verdict.low == verdict.high else f" ({verdict.low:.3g} – {verdict.high:.3g})"
    return f"{verdict.value:.3g}{span}"


def met(verdict):
    if not verdict.met:
        return "**missed**"
    return "met, stretch too" if verdict.stretch_met else "met"


def table(head, lines):
    """A table of Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    # a pipe of a shell would begin another column
    cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join("| " + " | ".join(row) + " |" for row in cells) + "\n"


def ratios(outcomes):
    """The main table: a line for each target and each tool without one."""
    lines = []
    for outcome in outcomes:
        ours = outcome.series.get(outcome.row.ours)
        said = times(ours) if ours else "not measured"
        verdicts, judged = judge(outcome), set()
        for verdict in verdicts:
            judged.add(verdict.target.against)
            theirs = outcome.series.get(verdict.target.against)
            beside = f", {verdict.beside}" if verdict.beside else ""
            lines.append([outcome.row.title, outcome.user, said,
                          verdict.target.against or "", times(theirs) if theirs else "",
                          measured(verdict) + beside, verdict.target.said(), met(verdict)])
        for name, samples in outcome.series.items():
            if name != outcome.row.ours and name not in judged and ours:
                ratio = statistics.median(seconds(ours)) / statistics.median(seconds(samples))
                lines.append([outcome.row.title, outcome.user, said, name, times(samples),
                              f"{ratio:.3g}", "", ""])
        if not verdicts and len(outcome.series) < 2:
            lines.append([outcome.row.title, outcome.user, said, "", "", "", "", "no comparison"])
    return lines


def weights(outcomes):
    """Peak memory and disk by row and tool."""
    lines = []
    for outcome in outcomes:
        for name, samples in outcome.series.items():
            memory, own = median(samples, "memory"), median(samples, "own_memory")
            disk = median(samples, "disk")
            if memory is None and disk is None:
                continue
            lines.append([outcome.row.title, outcome.user, name, megabytes(memory),
                          megabytes(own), megabytes(disk)])
    return lines


def parts(outcome):
    """Where the time of a row went: [(part, median seconds, whose)], the longest first."""
    names = {name for run in outcome.stages for name in run}
    middle = {name: statistics.median(run.get(name, 0.0) for run in outcome.stages)
              for name in names}
    ordered = sorted(middle.items(), key=lambda pair: -pair[1])
    return [(name, spent, trace.whose(name, outcome.row.group)) for name, spent in ordered]


def owners(division):
    """Whose the time is: [(who, seconds)], the longest first."""
    sums = {}
    for part in division.parts:
        sums[part.whose] = sums.get(part.whose, 0.0) + part.seconds
    return sorted(sums.items(), key=lambda pair: -pair[1])


def where(outcome):
    """The section of a row that missed a target."""
    lines = [f"### {outcome.row.title}, {outcome.user}\n"]
    found = parts(outcome)
    if found:
        total = sum(spent for _, spent, _ in found) or 1.0
        shares = {}
        for _, spent, owner in found:
            shares[owner] = shares.get(owner, 0.0) + spent
        said = ", ".join(f"{owner} {spent / total:.0%} ({time_of(spent)})"
                         for owner, spent in sorted(shares.items(), key=lambda p: -p[1]))
        lines.append(f"{said}.\n")
        lines.append(table(["stage", "time", "share", "whose"],
                           [[name, time_of(spent), f"{spent / total:.0%}", owner]
                            for name, spent, owner in found if spent / total >= 0.005]))
    division = outcome.division
    if division:
        said = ", ".join(f"{owner} {spent / division.seconds:.0%} ({time_of(spent)})"
                         for owner, spent in owners(division))
        lines.append(f"Traced by the kernel, mean of {division.times}: "
                     f"{time_of(division.seconds)}, of it {said}.\n")
        lines.append(table(["process", "what", "time", "share", "whose"],
                           [[part.who, part.what, time_of(part.seconds),
                             f"{part.seconds / division.seconds:.0%}", part.whose]
                            for part in division.parts
                            if part.seconds / division.seconds >= 0.01]))
    if not found and not division:
        lines.append("There is no trace of this row.\n")
    return "\n".join(lines)


def markdown(facts, versions, outcomes, left_out, rounds, pictures):
    """The whole report."""
    missed = [outcome for outcome in outcomes if any(not v.met for v in judge(outcome))]
    lines = ["# Benchmarks\n",
             "Written by `tests/bench --write`. Tools take turns in each round, another one first "
             "each time; times are medians, with the smallest and the largest, or with the "
             "quartiles of ten and more. Times say something about this machine only.\n",
             *(f"![{name.removesuffix('.svg')}]({name})\n" for name in pictures),
             "## Machine\n", table(["what", "value"], [[k, str(v)] for k, v in facts.items()]),
             table(["tool", "version"], [[k, v] for k, v in versions.items()]),
             f"Rounds: {rounds}; rows of milliseconds have more of them.\n",
             "## Time\n",
             table(["what", "as", "debmock", "other", "its time", "ratio or value", "target", ""],
                   ratios(outcomes)),
             "## How it is judged\n", JUDGED + "\n",
             "## How each row is measured\n",
             "\n".join(f"- {name}: {how}." for name, how in hows(outcomes).items()) + "\n",
             "## Memory and disk\n",
             "Memory is the highest sum over the process tree of what each process uses, shared "
             "pages divided among those that share them, sampled five times a second; a run "
             "between two samples is missed. Own: processes of debmock, the rest are programs "
             "inside roots. Disk is what was allocated.\n",
             table(["what", "as", "tool", "memory", "own", "disk"], weights(outcomes))]
    notes = dict.fromkeys(f"- {outcome.row.title}: {note}"
                          for outcome in outcomes for note in outcome.notes)
    if notes:
        lines += ["## Notes\n", "\n".join(notes) + "\n"]
    lines.append("## Where the time goes\n")
    lines.append("Of rows that missed a target. " + EXPLAINED + "\n")
    lines += [where(outcome) for outcome in missed] or ["Every target that was measured is met.\n"]
    lines.append("## Left out\n")
    lines.append("\n".join(f"- {line}" for line in left_out) + "\n" if left_out
                 else "Nothing was left out.\n")
    return hidden("\n".join(lines))


def hows(outcomes):
    """How rows are measured, by title; sizes of one thing are one."""
    found = {}
    for outcome in outcomes:
        row = outcome.row
        title = row.name.split("-")[0] if row.group == "changes" else row.title
        found[title] = row.how
    return found


def plain(sample):
    """A sample without what was of use during the run only."""
    return {key: value for key, value in dataclasses.asdict(sample).items() if key != "process"}


def values(facts, versions, outcomes, left_out, rounds, pictures):
    """The run as JSON."""
    rows = []
    for outcome in outcomes:
        rows.append({
            "row": outcome.row.name, "title": outcome.row.title, "user": outcome.user,
            "ours": outcome.row.ours,
            "samples": {name: [plain(sample) for sample in samples]
                        for name, samples in outcome.series.items()},
            "targets": [{"limit": verdict.target.limit, "against": verdict.target.against,
                         "stretch": verdict.target.stretch, "seconds": verdict.target.seconds,
                         "what": verdict.target.what, "value": verdict.value, "low": verdict.low,
                         "high": verdict.high, "met": verdict.met,
                         "largest": verdict.largest, "stretch_met": verdict.stretch_met} for verdict in judge(outcome)],
            "stages": [{"stage": name, "seconds": spent, "whose": owner}
                       for name, spent, owner in parts(outcome)],
            "division": dataclasses.asdict(outcome.division) if outcome.division else None,
            "notes": outcome.notes,
        })
    told = {"schema": SCHEMA, "machine": facts, "versions": versions, "rounds": rounds,
            "rows": rows, "left_out": left_out, "pictures": pictures}
    return hidden(json.dumps(told, indent=1, ensure_ascii=False)) + "\n"


def write(folder, facts, versions, outcomes, left_out, rounds, pictures):
    os.makedirs(folder, exist_ok=True)
    for name, form in (("results.md", markdown), ("results.json", values)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(form(facts, versions, outcomes, left_out, rounds, pictures))


def show(outcomes):
    """Lines for the terminal."""
    for title, user, ours, other, theirs, ratio, target, verdict in ratios(outcomes):
        against = f"; {other} {theirs}" if other else ""
        aim = f"; target {target}: {verdict.strip('*')}" if target else ""
        yield f"{title}, {user}: {ours}{against}; {ratio}{aim}"
