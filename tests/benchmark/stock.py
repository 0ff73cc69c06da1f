"""What several rows share, made once for each user: a store with a root, its archive, its tree."""

import contextlib
import json
import os
import shutil
import subprocess
import time

from . import Failure, chain, trace, tracer as tracing
from .rows import SOURCE, SUITE

CONFIG = f"debian-{SUITE}"
SYSTEM_PYTHON = "/usr/bin/python3"


class Bench:
    """One run: the programs, the users, and what was said on the way."""

    def __init__(self, base, debmock, helper, python, mirror, places, rounds, tell):
        self.base, self.debmock, self.helper, self.python = base, debmock, helper, python
        self.mirror, self.places, self.rounds, self.tell = mirror, places, rounds, tell
        self.left_out, self.broken, self.user = [], False, ""
        self._stocks, self._used = {}, []

    def remove_later(self, path):
        """Deletes a tree when all users of the group have been measured."""
        self._used.append(path)

    def remove_used(self):
        for path in self._used:
            self.places[0].remove(path)
        self._used.clear()

    def leave_out(self, what, why):
        """Something is not measured; said now and at the end, once."""
        line = f"{what}: {why}"
        if line not in self.left_out:
            self.left_out.append(line)
            self.tell(f"left out: {line}")

    def fail(self, what, why):
        """Something should have been measured, and could not."""
        self.broken = True
        self.leave_out(what, f"failed: {why}")

    @contextlib.contextmanager
    def traced(self, place):
        """A tracer for as long as the block runs, or one that sees nothing."""
        with contextlib.ExitStack() as stack:
            try:
                found = stack.enter_context(tracing.tracer())
            except Failure as why:
                self.leave_out(f"divisions of time as {place.user}", str(why))
                found = tracing.Blind()
            yield found

    def divided(self, place, words, work, times=1, before=None):
        """Where the time of a command goes, or None. `before` each time something may be done."""
        divisions = []
        for _ in range(times):
            if before:
                before()
            with self.traced(place) as tracer:
                tracer.turn(True)
                sample = place.run(words, work, weigh=False)
                end = time.perf_counter()
                found = tracer.divisions({"all": [[end - sample.seconds, end]]}, sample.process)
                divisions += found.values()
        return chain.mean(divisions)

    def stock(self, place):
        if place.user not in self._stocks:
            self.tell(f"making a root for {place.user}")
            self._stocks[place.user] = Stock(self, place)
        return self._stocks[place.user]

    def words(self, *arguments):
        """Our command line, with events."""
        return [self.debmock, "--json", "-r", CONFIG, *arguments]

    def ours(self, place, work, *arguments, environment=None):
        """Runs our command line in a directory: its sample and its stages."""
        events = os.path.join(work, "events.json")
        with open(events, "wb") as output:
            sample = place.run(self.words(*arguments), work, output=output,
                               environment=environment)
        return sample, trace.stages(events, sample.seconds)

    def library(self, place, work, *arguments, tracer=None):
        """Runs library.py as the user; what it found, and its sample. It turns the tracer on and
        off around what it repeats for that."""
        if not self.python:
            raise Failure("no interpreter can import debmock: see DEBMOCK_PYTHON")
        script = os.path.join(self.base, "library.py")
        path = os.path.join(work, "library.json")
        environment = place.environment(work, **self.python_environment())
        keep = ()
        if tracer and tracer.switch is not None:
            keep = (tracer.switch,)
            environment["DEBMOCK_BENCH_SWITCH"] = str(tracer.switch)
        with open(path, "wb") as output:
            sample = place.run([self.python, script, *arguments], work, output=output,
                               environment=environment, keep=keep)
        with open(path) as file:
            return json.load(file), sample

    def find_python(self, clone, target):
        """An interpreter that can import the module: DEBMOCK_PYTHON, in which the wheel is, else
        the system's with the module that cargo built."""
        self.python, self._environment = os.environ.get("DEBMOCK_PYTHON"), {}
        if self.python:
            return
        module = os.path.join(target, "release/lib_native.so")
        folder = os.path.join(self.base, "python")
        if os.path.isfile(module):
            shutil.copytree(os.path.join(clone, "python/debmock"), os.path.join(folder, "debmock"),
                            ignore=shutil.ignore_patterns("__pycache__", "_native*.so"))
            shutil.copy(module, os.path.join(folder, "debmock/_native.abi3.so"))
            self._environment = {"PYTHONPATH": folder, "DEBMOCK_HELPER": self.helper}
            words = [SYSTEM_PYTHON, "-c", "import debmock"]
            environment = dict(os.environ, **self._environment)
            done = subprocess.run(words, env=environment, capture_output=True)
            if done.returncode == 0:
                self.python = SYSTEM_PYTHON
                # as an installed module has it
                subprocess.run([SYSTEM_PYTHON, "-m", "compileall", "-q", folder], check=False)

    def python_environment(self):
        """Variables with which that interpreter finds the module and the helper."""
        return dict(self._environment)


class Stock:
    """A store of a user with one root of the suite in it."""

    def __init__(self, bench, place):
        self.work = place.fresh()
        place.run(bench.words("init"), self.work, weigh=False)
        self.tar = os.path.join(self.work, "root.tar")
        place.run(bench.words("export", self.tar), self.work, weigh=False)
        # sbuild reads it as another id
        os.chmod(self.tar, 0o644)
        # of real root, for bubblewrap, schroot and tar
        self.root = os.path.join(self.work, "root")
        os.mkdir(self.root)
        subprocess.run(["tar", "-C", self.root, "--numeric-owner", "-xpf", self.tar], check=True)
        self._bench, self._place, self._dsc = bench, place, None

    def bwrap(self, *command):
        """bubblewrap's words for a command in that tree, isolated as far as it goes."""
        return ["bwrap", "--unshare-all", "--ro-bind", self.root, "/", "--dev", "/dev",
                "--proc", "/proc", *command]

    def packages(self):
        """Names and versions of the packages in the root."""
        found, name = {}, None
        with open(os.path.join(self.root, "var/lib/dpkg/status")) as file:
            for line in file:
                key, _, value = line.rstrip("\n").partition(": ")
                if key == "Package":
                    name = value
                elif key == "Version":
                    found[name] = value
        return found

    def dsc(self):
        """The path of the .dsc of the source that is built, with its files beside it."""
        if self._dsc is None:
            folder = os.path.join(self.work, "source")
            os.mkdir(folder)
            self._dsc = self._bench.mirror.source(SOURCE, folder)
            self._place.own(folder)
            for name in os.listdir(folder):
                self._place.own(os.path.join(folder, name))
        return self._dsc
