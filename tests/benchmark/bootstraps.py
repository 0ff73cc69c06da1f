"""First roots from an archive."""

import json
import os

from . import Failure, measure, tools
from .mirror import KEYRING
from .rows import MMDEBSTRAP, OURS, RDEBOOTSTRAP, SUITE, Outcome, of

# small, and nothing in a buildd root needs it or is needed by it
EXTRA = "ed"


def bootstrap(bench, place, wanted):
    """Rows `cold` and `near`."""
    used, near, stages = [], [], {"cold": [], "near": []}
    # a mirror is warm when it has served the packages
    bench.stock(place)

    def made(sample, path):
        sample.disk = measure.allocated(path)
        return sample

    def fresh():
        # removed at the end: ext4 looks for a long time at each inode that was freed just before
        used.append(place.fresh())
        return used[-1]

    def ours(_number):
        work = fresh()
        sample, parts = bench.ours(place, work, "init")
        stages["cold"].append(parts)
        made(sample, work)
        if "near" in wanted:
            include = f"packages.include={json.dumps([EXTRA])}"
            again, parts = bench.ours(place, work, "--uniqueext", "near", "-o", include, "init")
            stages["near"].append(parts)
            again.disk = measure.allocated(work) - sample.disk
            near.append(again)
            bench.tell(f"and with {EXTRA}: {again.seconds:.4g} s")
        return sample

    def mmdebstrap(_number):
        work = fresh()
        mode = "root" if place.is_root else "unshare"
        words = ["mmdebstrap", "--quiet", f"--mode={mode}", "--variant=buildd",
                 "--format=directory", SUITE, f"{work}/root", *bench.mirror.lines()]
        return made(place.run(words, work), f"{work}/root")

    def debootstrap(number):
        # the slowest, and no target
        if number:
            return None
        work = fresh()
        words = ["debootstrap", "--variant=buildd", f"--keyring={KEYRING}", SUITE, f"{work}/root",
                 bench.mirror.main]
        return made(place.run(words, work), f"{work}/root")

    contenders, notes = {OURS: ours}, []
    if tools.find("mmdebstrap"):
        contenders[MMDEBSTRAP] = mmdebstrap
    else:
        bench.leave_out("mmdebstrap", "it is missing; tests/bench --prepare brings it")
    if "cold" in wanted:
        if not tools.find("rdebootstrap"):
            bench.leave_out("rdebootstrap", "it is missing; tests/bench --prepare compiles it")
        else:
            try:
                manifest = Manifest(bench, place)
                notes += manifest.notes
                contenders[RDEBOOTSTRAP] = lambda _n: made_by(manifest, place, fresh())
            except Failure as why:
                bench.leave_out(f"rdebootstrap as {place.user}", str(why))
        if not place.is_root:
            bench.leave_out(f"debootstrap as {place.user}", "it needs root")
        elif not tools.find("debootstrap"):
            bench.leave_out("debootstrap", "it is missing; tests/bench --prepare brings it")
        else:
            contenders["debootstrap"] = debootstrap
            notes.append("debootstrap: one round, of the suite without updates and security")
    try:
        series = measure.alternate(bench, contenders)
    finally:
        for work in used:
            bench.remove_later(work)
    outcomes = []
    if OURS not in series:
        return outcomes
    if "cold" in wanted:
        outcomes.append(Outcome(of("cold"), place.user, series,
                                ["disk of debmock is its whole store, with the packages", *notes],
                                stages["cold"]))
    if "near" in wanted:
        beside = {OURS: near} | {name: series[name] for name in (MMDEBSTRAP,) if name in series}
        note = f"the package more is {EXTRA}, and is downloaded; mmdebstrap's root is without it"
        outcomes.append(Outcome(of("near"), place.user, beside, [note], stages["near"]))
    return outcomes


def made_by(manifest, place, work):
    sample = manifest.build(place, work)
    sample.disk = measure.allocated(work)
    return sample


class Manifest:
    """What rdebootstrap is asked for: the set of our root, in the same versions where the archives
    can be used by it."""

    def __init__(self, bench, place):
        stock = bench.stock(place)
        self.program, self.notes = tools.need("rdebootstrap"), []
        packages = stock.packages()
        exact = [f"{name} (= {version})" for name, version in sorted(packages.items())]
        # It wants an index of `binary-all` from each archive that names one, which apt never
        # fetches: mirrors may be wrong there and nobody notices.
        tries = [(bench.mirror.archives, exact), (bench.mirror.archives, sorted(packages)),
                 (bench.mirror.archives[:2], sorted(packages)),
                 (bench.mirror.archives[:1], sorted(packages))]
        for number, (archives, include) in enumerate(tries):
            self.text = manifest(archives, include)
            work = place.fresh()
            try:
                self.write(place, work)
                place.run([*self.base(work), "update"], work, weigh=False)
            except Failure as why:
                self.notes.append(f"rdebootstrap, try {number + 1}: {str(why)[:200]}")
                continue
            finally:
                place.remove(work)
            self.notes = [] if number == 0 else [
                f"rdebootstrap works on {len(archives)} of {len(bench.mirror.archives)} archives "
                f"of this mirror, so some of its packages are of other versions"]
            return
        raise Failure("; ".join(self.notes))

    def base(self, work):
        return [self.program, "-q", "-m", f"{work}/Manifest.toml", "--cache-dir", f"{work}/cache"]

    def write(self, place, work):
        path = os.path.join(work, "Manifest.toml")
        with open(path, "w") as file:
            file.write(self.text)
        place.own(path)

    def build(self, place, work):
        """Indexes and root, with nothing known."""
        self.write(place, work)
        base = " ".join(self.base(work))
        environment = place.environment(work)
        if not place.is_root:
            programs = os.path.join(work, "bin")
            os.mkdir(programs)
            for name in ("newuidmap", "newgidmap"):
                self.wrap(name, os.path.join(programs, name))
            environment["PATH"] = f"{programs}:{environment['PATH']}"
        return place.run(["sh", "-c", f"{base} update && {base} build --path {work}/root"], work,
                         environment=environment)

    @staticmethod
    def wrap(name, path):
        """It names its process by a descriptor, which programs before shadow 4.14 do not know: they
        get the number."""
        with open(path, "w") as file:
            file.write(f'''#!/bin/sh
case $1 in
  fd:*) pid=$(readlink "/proc/self/fd/${{1#fd:}}"); shift; set -- "${{pid##*/}}" "$@" ;;
esac
exec {tools.need(name)} "$@"
''')
        os.chmod(path, 0o755)


def manifest(archives, include):
    parts = [f'[[archive]]\nurl = "{uri}"\nsuites = ["{suite}"]\ncomponents = ["main"]\n'
             f'signed-by = "{KEYRING}"\n' for uri, suite in archives]
    return "\n".join(parts) + f"\n[spec]\ninclude = {json.dumps(include)}\n"
