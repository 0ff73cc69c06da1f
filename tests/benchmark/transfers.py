"""Roots out as archives and in again."""

import os
import shlex

from . import Failure, measure, tools
from .judge import missed
from .rows import OURS, TAR, UNTAR, Outcome, of

# what debmock packs with
LEVEL = 3


def transfer(bench, place, wanted):
    """Rows `export` and `import`."""
    stock, stages = bench.stock(place), {"export": [], "import": []}
    if not tools.find("zstd"):
        raise Failure("zstd is missing; tests/bench --prepare brings it")
    archive = os.path.join(stock.work, "packed.tar.zst")
    root = next(found for found in bench.places if found.is_root)

    def fresh(owner=place):
        path = owner.fresh()
        bench.remove_later(path)
        return path

    def export(number):
        path = os.path.join(stock.work, f"export-{number}.tar.zst")
        sample, parts = bench.ours(place, stock.work, "export", path)
        sample.disk = measure.allocated(path)
        stages["export"].append(parts)
        os.replace(path, archive)
        return sample

    def shell(line, folder, made):
        sample = root.run(["bash", "-o", "pipefail", "-c", line], folder)
        sample.disk = measure.allocated(made)
        return sample

    def tar(_number):
        folder = fresh(root)
        path = f"{folder}/root.tar.zst"
        return shell(f"tar --numeric-owner -C {shlex.quote(stock.root)} -cf - . | "
                     f"zstd -q -T0 -{LEVEL} -o {path}", folder, path)

    def ours_in(_number):
        # into a store of its own, since one that has the archive takes what it has
        work = fresh()
        sample, parts = bench.ours(place, work, "import", archive)
        sample.disk = measure.allocated(f"{work}/cache")
        stages["import"].append(parts)
        return sample

    def untar(_number):
        folder = fresh(root)
        return shell(f"mkdir root && zstd -q -d -c {shlex.quote(archive)} | "
                     f"tar --numeric-owner -C root -xpf -", folder, f"{folder}/root")

    pairs = {"export": {OURS: export, TAR: tar}, "import": {OURS: ours_in, UNTAR: untar}}
    outcomes = []
    # so that there is an archive, whatever is wanted
    export(0)
    stages["export"].clear()
    for name in wanted:
        series = measure.alternate(bench, pairs[name])
        note = (f"zstd level {LEVEL} for both; tar runs as root on a tree of the same files, "
                "also beside debmock as a user")
        outcome = Outcome(of(name), place.user, series, [note], stages[name])
        if missed(outcome):
            work = fresh()
            given = archive if name == "import" else f"{work}/again.tar.zst"
            outcome.division = bench.divided(
                place, bench.words(name, given), work if name == "import" else stock.work)
        outcomes.append(outcome)
    return outcomes
