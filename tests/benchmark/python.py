"""What the module costs a program that imports it."""

import time
import subprocess

from . import Failure
from .measure import Sample
from .rows import NOTHING, OURS, Outcome, of

LEAST, EACH, WARM = 40, 10, 3


def python(bench, place, wanted):
    """Row `module`."""
    if not bench.python:
        raise Failure("no interpreter can import debmock: see DEBMOCK_PYTHON")
    environment = place.environment(bench.base, **bench.python_environment())

    def start(statement):
        begin = time.perf_counter()
        done = subprocess.run([bench.python, "-c", statement], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode:
            raise Failure(f"{bench.python} cannot {statement}")
        return Sample(time.perf_counter() - begin)

    series = {OURS: [], NOTHING: []}
    for number in range(max(LEAST, EACH * bench.rounds) + WARM):
        ours, nothing = start("import debmock"), start("pass")
        if number >= WARM:
            series[OURS].append(ours)
            series[NOTHING].append(nothing)
    return [Outcome(of("module"), place.user, series)]
