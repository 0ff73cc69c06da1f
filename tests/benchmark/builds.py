"""Dependencies and builds of a source package, against apt, dpkg-buildpackage and sbuild."""

import os
import threading
import time

from . import Failure, measure, tools
from .measure import Sample
from .rows import APT, BARE, OURS, SBUILD, SOURCE, SUITE, Outcome, of
from .stock import CONFIG

BUILD_PATH = "/build/reproducible-path"
# Downloads and indexes: what is known at the start of a row. Other parts of the store are not.
KNOWN = ("debs", "lists", "sources")


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
        self.stock, self.used, self.apt = bench.stock(place), [], []
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
        return sample

    def outcomes(self, series):
        found = []
        for name in self.wanted:
            if name not in series:
                continue
            beside, notes = {OURS: series[name]}, []
            if name == "deps" and self.apt:
                beside[APT] = self.apt
                notes.append("apt-get's time is read from sbuild's log, from its first line to the "
                             "end of the installation without the download; what sbuild does "
                             "around it is not counted")
            elif name == "rebuild" and BARE in series:
                beside[BARE] = series[BARE]
                notes.append("dpkg-buildpackage runs in an open session of a root with these "
                             "dependencies, in the environment of builds; only it is timed")
            elif name == "whole" and SBUILD in series:
                beside[SBUILD] = series[SBUILD]
                notes.append("sbuild has its kept archive of the root, not packed, and no upgrade "
                             "to do; debmock has its base and the downloads")
            found.append(Outcome(of(name), self.place.user, beside, notes, self.stages[name]))
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
