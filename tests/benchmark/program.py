"""The command line of tests/bench."""

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import (Failure, bootstraps, builds, changes, commands, crowd, disk, judge, machine, mirror,
               plot, python, report, rows, tools, transfers)
from .place import Place
from .stock import Bench

CLONE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WRITTEN = "docs/benchmarks"
MEASURES = {"bootstrap": bootstraps.bootstrap, "command": commands.command,
            "library": commands.library, "build": builds.build, "changes": changes.changes,
            "eight": crowd.eight, "transfer": transfers.transfer, "python": python.python}
# Groups whose every tool is the same for all users, or which take too long for both.
AS_USER_ONLY = {"build"}
# Gigabytes that a group takes on the disk at its worst, of the rounds, with some to spare.
NEEDS = {"bootstrap": lambda rounds: 4 + 4 * rounds, "command": lambda _rounds: 3,
         "library": lambda _rounds: 3, "build": lambda rounds: 4 + 2 * rounds,
         "changes": lambda _rounds: 16, "eight": lambda _rounds: 3,
         "transfer": lambda rounds: 4 + 2 * rounds, "python": lambda _rounds: 1}
DESCRIPTION = """\
Compares debmock with mmdebstrap, debootstrap, rdebootstrap, sbuild, schroot and bubblewrap: all
take turns on this machine, in this run. What counts are ratios; nothing passes or fails here."""


def tell(sentence):
    print(f"[{time.strftime('%H:%M:%S')}] {sentence}", file=sys.stderr, flush=True)


def arguments(words):
    names = ", ".join(f"{group} ({', '.join(row.name for row in rows.ROWS if row.group == group)})"
                      for group in rows.GROUPS)
    parser = argparse.ArgumentParser(
        prog="tests/bench", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Rows and groups: {names}. The programs are those of target/release, or DEBMOCK_BIN "
               "and DEBMOCK_HELPER. DEBMOCK_PYTHON names an interpreter in which the wheel is "
               "installed; without it the module of target/release is used, if python3 can "
               "load it.")
    parser.add_argument("-n", "--rounds", type=int, default=3, help="rounds of each row; %(default)s")
    parser.add_argument("-u", "--user", action="append", metavar="NAME",
                        help=f"measure as this user only; may be repeated; root and {tools.USER}")
    parser.add_argument("--disk", type=int, metavar="GB",
                        help="measure on a file system of its own, an ext4 with a journal in a file "
                             "of at most so many gigabytes")
    parser.add_argument("--prepare", action="store_true",
                        help="install the other tools, make the user, and end")
    parser.add_argument("--write", action="store_true",
                        help=f"write the report to {WRITTEN} of this clone")
    parser.add_argument("--folder", metavar="FOLDER", help="write the report there")
    parser.add_argument("--list", action="store_true", help="list the rows and their targets")
    parser.add_argument("row", nargs="*", help="names of rows or groups; all")
    options = parser.parse_args(words)
    options.rows = rows.chosen(options.row)
    if options.rows is None:
        parser.error("there is no such row; --list names them")
    if options.write and not options.folder:
        options.folder = os.path.join(CLONE, WRITTEN)
    if options.rounds < 1:
        parser.error("at least one round is needed")
    if options.disk is not None and options.disk < 1:
        parser.error("a disk has at least one gigabyte")
    return options


def main(words=None):
    options = arguments(words)
    try:
        if options.list:
            for row in options.rows:
                print(f"{row.name:16} {row.title}: {'; '.join(t.said() for t in row.targets)}")
            return 0
        if os.geteuid():
            raise Failure("root is needed: it measures as root and as a user without rights")
        if options.prepare:
            tools.prepare(tell)
            return 0
        return measured(options)
    except Failure as why:
        print(f"tests/bench: {why}", file=sys.stderr)
        return 1


def measured(options):
    """Measures, shows, writes; the exit status."""
    # so that what was made is removed then, too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_what: sys.exit(130))
    parent = os.environ.get("DEBMOCK_TEST_DIR", "/var/tmp")
    facts = machine.facts(parent, CLONE)
    if options.disk:
        facts["disk"] = f"ext4 with a journal in a file, which is on {facts['disk']}"
    elif disk.lacks_journal(parent):
        facts["disk"] += ", without a journal: what follows a deletion may be slow"
        tell("this ext4 has no journal, and is slow after deletions: --disk makes one that has")
    if facts["load at the start"] > 1.0:
        tell(f"this machine is busy (load {facts['load at the start']}): numbers will be noisy")
    if not options.disk:
        return measured_below(parent, options, facts)
    with disk.Disk(parent, options.disk) as own:
        return measured_below(own.path, options, facts)


def measured_below(parent, options, facts):
    """As `measured`, in a directory."""
    base = tempfile.mkdtemp(prefix="debmock-bench.", dir=parent)
    try:
        os.chmod(base, 0o755)
        bench = prepared(options, base)
        outcomes = run(bench, options)
        tell_all(bench, options, facts, outcomes)
    finally:
        tell("removing what was made")
        subprocess.run(["rm", "-rf", "--one-file-system", "--", base], check=False)
    return 1 if bench.broken else 0


def tell_all(bench, options, facts, outcomes):
    """Shows the outcomes, writes them where that is wanted, and says what was left out."""
    print()
    for line in report.show(outcomes):
        print(line)
    if options.folder:
        versions, pictures = {"debmock": bench.version, **tools.versions()}, []
        try:
            pictures = plot.write(options.folder, outcomes)
        except Failure as why:
            bench.leave_out("pictures", str(why))
        report.write(options.folder, facts, versions, outcomes, bench.left_out, options.rounds,
                     pictures)
        print(f"\nwritten to {options.folder}")
    print("\nleft out:" if bench.left_out else "\nnothing was left out")
    for line in bench.left_out:
        print(f"- {line}")
    sys.stdout.flush()


def prepared(options, base):
    """Copies of the programs where users may run them, and the users' directories."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(CLONE, "target"))
    built = {}
    for name, variable in (("debmock", "DEBMOCK_BIN"), ("debmock-helper", "DEBMOCK_HELPER")):
        source = os.environ.get(variable, os.path.join(target, "release", name))
        if not os.path.isfile(source):
            raise Failure(f"{source} is missing: run cargo build --release --workspace")
        built[name] = shutil.copy(source, os.path.join(base, name))
    for name in ("newuidmap", "setpriv", "tar"):
        tools.need(name)
    shutil.copy(os.path.join(CLONE, "tests/benchmark/library.py"), base)
    wanted = options.user or ["root", tools.USER]
    places = []
    for user in wanted:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise Failure(f"there is no user {user}; tests/bench --prepare makes "
                          f"{tools.USER}") from None
        if user != "root" and not tools.has_sub_ids(user):
            raise Failure(f"user {user} has no sub-ids in /etc/subuid")
        places.append(Place(base, user))
    bench = Bench(base, built["debmock"], built["debmock-helper"], None, mirror.Mirror(), places,
                  options.rounds, tell)
    bench.version = machine.said(bench.debmock, "--version").split()[-1]
    bench.find_python(CLONE, target)
    return bench


def leave_out_others(bench, options, found):
    """Names what nobody asked for, and targets that have nothing to be judged by."""
    for group in rows.GROUPS:
        others = [row.name for row in rows.ROWS
                  if row.group == group and row.name not in {row.name for row in options.rows}]
        if others:
            bench.leave_out(", ".join(others), "not asked for")
    if options.user:
        for user in {"root", tools.USER} - set(options.user):
            bench.leave_out(f"everything as {user}", "not asked for")
    for outcome in found:
        for target in judge.unjudged(outcome):
            bench.leave_out(f"{outcome.row.title} as {outcome.user}, target {target.said()}",
                            "not judged, since one of both was not measured")


def run(bench, options):
    """All rows: outcomes in the order of rows."""
    found = []
    for group in dict.fromkeys(row.group for row in options.rows):
        wanted = [row.name for row in options.rows if row.group == group]
        places = bench.places
        if group in AS_USER_ONLY and any(not place.is_root for place in places):
            if len(places) > 1:
                bench.leave_out(f"{', '.join(wanted)} as root", "they take long, and sbuild's "
                                "unshare mode is for users: measured as a user only")
            places = [place for place in places if not place.is_root]
        for place in places:
            room, free = NEEDS[group](bench.rounds), shutil.disk_usage(bench.base).free / 1e9
            if free < room:
                bench.leave_out(f"{', '.join(wanted)} as {place.user}",
                                f"{free:.0f} GB are free, and it may take {room:.0f} GB")
                continue
            tell(f"{group} as {place.user}: {', '.join(wanted)}")
            bench.user, start = place.user, time.monotonic()
            try:
                found += MEASURES[group](bench, place, wanted)
            except Failure as why:
                bench.fail(f"{', '.join(wanted)} as {place.user}", why)
            tell(f"{group} as {place.user} took {time.monotonic() - start:.0f} s")
        # when all have been measured: after it, some file systems are slow for minutes
        bench.remove_used()
    leave_out_others(bench, options, found)
    order = {row.name: number for number, row in enumerate(rows.ROWS)}
    found.sort(key=lambda outcome: order[outcome.row.name])
    for outcome in found:
        for verdict in judge.judge(outcome):
            if not verdict.met:
                tell(f"missed: {outcome.row.title}, {outcome.user}: {verdict.target.said()}")
    return found
