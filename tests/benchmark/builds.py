"""Dependencies and builds of a source package, against apt, dpkg-buildpackage and sbuild."""

import os
import re
import threading
import time

from . import Failure, measure, tools
from .measure import Sample
from .rows import APT, BARE, OURS, SBUILD, SBUILD_LESS, SOURCE, SUITE, Outcome, of
from .stock import CONFIG

BUILD_PATH = "/build/reproducible-path"
# Downloads and indexes: what is known at the start of a row. Other parts of the store are not, nor
# what apt once worked out of the indexes.
KNOWN = ("debs", "lists", "sources")
WORKED_OUT = "lists/v1/plans"


def build(bench, place, wanted):
    """Rows `deps`, `rebuild` and `whole`."""
    shop = Workshop(bench, place, wanted)
    contenders = shop.contenders()
    try:
        series = measure.alternate(bench, contenders)
    finally:
        shop.remove()
    return shop.outcomes(series)


class Workshop:
    """A store with the downloads, and the contenders that begin with it."""

    def __init__(self, bench, place, wanted):
        self.bench, self.place, self.wanted = bench, place, wanted
        self.stock, self.used, self.apt, self.less = bench.stock(place), [], [], []
        self.stages = {name: [] for name in wanted}
        self.dsc = self.stock.dsc()
        bench.tell(f"building {SOURCE} once, for its downloads")
        results = os.path.join(self.stock.work, "results")
        bench.ours(place, self.stock.work, "--uniqueext", "bare", "rebuild", self.dsc,
                   "--cleanup-after=never", "--resultdir", results)

    def fresh(self):
        """A store with a root and the downloads; nothing is known of dependencies."""
        work = self.place.fresh()
        self.used.append(work)
        words = ["cp", "-a", "--reflink=auto",
                 *(f"{self.stock.work}/cache/{name}" for name in KNOWN
                   if os.path.isdir(f"{self.stock.work}/cache/{name}")), f"{work}/cache/"]
        # by the user: what it may not read is no download
        self.place.run(["mkdir", "-m", "700", f"{work}/cache"], work, weigh=False)
        self.place.run(words, work, weigh=False)
        self.place.run(["rm", "-rf", f"{work}/cache/{WORKED_OUT}"], work, weigh=False)
        self.bench.ours(self.place, work, "init")
        return work

    def timed(self, name, work, *arguments):
        before = measure.allocated(work)
        sample, stages = self.bench.ours(self.place, work, *arguments)
        sample.disk = measure.allocated(work) - before
        self.stages[name].append(stages)
        return sample

    def contenders(self):
        found = {}
        if "deps" in self.wanted:
            found["deps"] = lambda _n: self.timed("deps", self.fresh(), "installdeps", self.dsc)
        if "whole" in self.wanted:
            found["whole"] = self.whole
        if "rebuild" in self.wanted:
            found["rebuild"] = self.rebuild
            if self.bench.python:
                found[BARE] = self.bare
            else:
                self.bench.leave_out(BARE, "no interpreter can import debmock: see "
                                           "DEBMOCK_PYTHON")
        if "deps" in self.wanted or "whole" in self.wanted:
            if not tools.find("sbuild"):
                self.bench.leave_out("sbuild", "it is missing; tests/bench --prepare brings it")
            elif self.place.is_root:
                self.bench.leave_out("sbuild as root", "its unshare mode is for users")
            else:
                found[SBUILD] = self.sbuild
        return found

    def whole(self, number):
        work = self.fresh()
        return self.timed("whole", work, "rebuild", self.dsc, "--resultdir", f"{work}/out")

    def rebuild(self, number):
        work = self.stock.work
        return self.timed("rebuild", work, "rebuild", self.dsc, "--resultdir",
                          f"{work}/out-{number}")

    def bare(self, _number):
        found, sample = self.bench.library(self.place, self.stock.work, "bare", CONFIG, "bare",
                                           BUILD_PATH)
        sample.seconds = found["seconds"]
        return sample

    def sbuild(self, _number):
        """The whole build; what apt-get did in it is kept besides."""
        work = self.place.fresh()
        self.used.append(work)
        folder = os.path.dirname(self.dsc)
        for name in os.listdir(folder):
            self.place.give(os.path.join(folder, name), work)
        words = ["sbuild", "--verbose", "--chroot-mode=unshare", "--dist", SUITE,
                 f"--chroot={self.stock.tar}", f"--build-path={BUILD_PATH}",
                 "--arch-any", "--arch-all", "--no-source",
                 # what is not always done is not counted
                 "--no-apt-upgrade", "--no-apt-distupgrade", "--no-run-lintian",
                 "--no-run-piuparts", "--no-run-autopkgtest", os.path.basename(self.dsc)]
        cores = len(os.sched_getaffinity(0))
        environment = self.place.environment(work, DEB_BUILD_OPTIONS=f"parallel={cores}")
        lines = []
        with Clock(lines) as output:
            sample = self.place.run(words, work, output=output, environment=environment)
        # its root is gone at its end: what stays for the next build is the archive of the root
        sample.disk = measure.allocated(self.stock.tar)
        self.apt.append(Sample(install_seconds(lines)))
        self.less.append(Sample(sample.seconds - download_seconds(lines)))
        return sample

    def outcomes(self, series):
        found = []
        for name in self.wanted:
            if name not in series:
                continue
            beside = {OURS: series[name]}
            if name == "deps" and self.apt:
                beside[APT] = self.apt
            elif name == "rebuild" and BARE in series:
                beside[BARE] = series[BARE]
            elif name == "whole" and SBUILD in series:
                beside[SBUILD] = series[SBUILD]
                beside[SBUILD_LESS] = self.less
            found.append(Outcome(of(name), self.place.user, beside, stages=self.stages[name]))
        return found

    def remove(self):
        for work in self.used:
            self.place.remove(work)


class Clock:
    """A descriptor whose lines are kept with the time at which they came: (seconds, line)."""

    def __init__(self, lines):
        self.lines = lines

    def __enter__(self):
        reader, self.writer = os.pipe()
        self.thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self.thread.start()
        return self.writer

    def _read(self, reader):
        with open(reader, errors="replace") as file:
            for line in file:
                self.lines.append((time.perf_counter(), line.rstrip("\n")))

    def __exit__(self, *_error):
        os.close(self.writer)
        self.thread.join(timeout=5)


def download_seconds(lines):
    """How long apt-get downloaded packages and indexes according to sbuild's log. Between two
    lines of a section, so that what it does before it asks for anything is not of it."""
    spent, first, last = 0.0, None, None
    for at, line in lines:
        if re.match(r"(Get|Hit|Ign|Err):\d+ ", line):
            # apt says Get where a file begins
            first, last = first or at, at
        elif first and line.startswith("Fetched "):
            spent, first = spent + at - first, None
        elif first and line.startswith("Reading package lists"):
            spent, first = spent + last - first, None
    return spent


def install_seconds(lines):
    """How long apt-get installed dependencies according to sbuild's log, without the download."""
    start = end = asked = got = None
    for at, line in lines:
        if start is None:
            start = at if line == "Installing build dependencies" else None
        elif line.startswith("+----"):
            end = at
            break
        elif line.startswith("Need to get "):
            asked = at
        elif line.startswith("Fetched ") and asked and got is None:
            got = at
    if start is None or end is None:
        raise Failure("sbuild's log does not say when it installed dependencies")
    return end - start - (got - asked if got else 0.0)
