"""A run as pictures: SVG, drawn by matplotlib, the same bytes for the same numbers."""

import contextlib
import os
import sys
import statistics

from . import Failure
from .judge import judge, seconds

MET, MISSED, TARGET = "#2b7bba", "#c8553d", "#222222"
LONG = {"cold": "cold root", "near": "one package more", "deps": "dependencies",
        "whole": ".dsc to .deb", "rebuild": "rebuild, set known"}


def library():
    """matplotlib without a display."""
    try:
        import matplotlib
    except ImportError as error:
        raise Failure(f"{sys.executable} has no matplotlib; tests/bench --prepare brings it to "
                      "/usr/bin/python3") from error
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "debmock", "svg.fonttype": "none",
                                "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot
    return pyplot


def write(folder, outcomes):
    """Draws what there is to draw: the names of the files. Those of an earlier run go."""
    os.makedirs(folder, exist_ok=True)
    for name in DRAWN:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    pyplot, written = library(), []
    for name, draw in DRAWN.items():
        figure = draw(pyplot, outcomes)
        if figure:
            save(pyplot, figure, os.path.join(folder, name))
            written.append(name)
    return written


def save(pyplot, figure, path):
    figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
    # matplotlib ends lines of paths with spaces, which git shows as faults
    with open(path) as file:
        lines = [line.rstrip() for line in file]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def limit(target):
    more = f" + {target.seconds:g} s" if target.seconds else ""
    return f"{target.limit:g}{more}"


def ratios(pyplot, outcomes):
    """Each ratio with its spread, and its target, on a logarithmic axis."""
    bars = []
    for outcome in outcomes:
        for verdict in judge(outcome):
            if verdict.target.against and verdict.target.what in ("time", "same"):
                label = f"{outcome.row.title}, {outcome.user}\nagainst {verdict.target.against}"
                bars.append((label, verdict))
    if not bars:
        return None
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.36 * max(1, len(bars))))
    for at, (_, verdict) in enumerate(bars):
        # points, since a logarithmic axis has no zero that a bar could begin at
        colour, mark = (MET, "o") if verdict.met else (MISSED, "X")
        axes.plot([verdict.low, verdict.high], [at, at], color="#999999", linewidth=1.5, zorder=1)
        axes.plot([verdict.target.limit] * 2, [at - 0.36, at + 0.36], color=TARGET, linewidth=2)
        axes.plot(verdict.value, at, mark, color=colour, markersize=8, zorder=3)
        axes.annotate(f"{verdict.value:.2g}  (≤ {limit(verdict.target)})", (1.01, at),
                      xycoords=("axes fraction", "data"), va="center", color=colour)
    axes.set_xscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    ends = [v for _, verdict in bars for v in (verdict.low, verdict.high, verdict.target.limit)]
    inside = [tick for tick in ticks if min(ends, default=0.1) / 2 <= tick <= max(ends, default=2) * 2]
    axes.set_xticks(inside, [f"{tick:g}" for tick in inside])
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(bars)), [label for label, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel("time of debmock / time of the other; thick line: target, cross: missed")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def times(pyplot, outcomes):
    """Seconds of what takes seconds, by tool."""
    bars = []
    for outcome in outcomes:
        if outcome.row.name in LONG:
            for name, samples in outcome.series.items():
                label = f"{LONG[outcome.row.name]}, {outcome.user}: {name}"
                bars.append((label, statistics.median(seconds(samples)), name == outcome.row.ours))
    if not bars:
        return None
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.28 * max(1, len(bars))))
    for at, (_, spent, ours) in enumerate(bars):
        axes.barh(at, spent, color=MET if ours else "#b8b8b8", height=0.7)
        axes.annotate(f"{spent:.1f}", (spent, at), xytext=(4, 0), textcoords="offset points",
                      va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xlabel("seconds, median")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


DRAWN = {"ratios.svg": ratios, "times.svg": times}
