"""Times of the Python module, as JSON on standard output: run by tests/bench.

  library.py CONFIG ROUNDS BWRAP-COMMAND…

Alternating in each round, in seconds: `fresh` (a clean buildroot is opened and runs `true`), `more`
(one more `true` in that session), `other` (the command given), `snapshot`, `rollback`, `clean` with
64 MB of changes in the root.
"""

import json
import subprocess
import sys
import time

import debmock

MEGABYTES = 64


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main():
    config, rounds, bwrap = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    times = {name: [] for name in ("fresh", "more", "other", "snapshot", "rollback", "clean")}
    with debmock.Buildroot(config) as root:
        root.init()

        def fresh():
            nonlocal session
            session = root.session()
            session.run(["true"], check=True)

        session = None
        for _ in range(rounds):
            root.clean()
            root.init()
            times["fresh"].append(timed(fresh))
            times["more"].append(timed(lambda: session.run(["true"], check=True)))
            session.close()
            times["other"].append(timed(lambda: subprocess.run(bwrap, check=True)))
        for number in range(rounds):
            with root.session() as dirty:
                fill = f"head -c {MEGABYTES}M /dev/zero > /var/tmp/fill"
                dirty.run(["sh", "-c", fill], check=True)
            name = f"s{number}"
            times["snapshot"].append(timed(lambda: root.snapshot(name)))
            times["rollback"].append(timed(lambda: root.rollback(name)))
            root.remove_snapshot(name)
            times["clean"].append(timed(root.clean))
            root.init()
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main()
