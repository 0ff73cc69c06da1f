"""What is compared, and which ratio of the same run is the target. Absolute times are no targets,
but where something must not depend on the size of a root."""

import dataclasses

SUITE = "bookworm"
SOURCE = "hello"
OURS = "debmock"
# How many rounds a row of milliseconds has for each round that was asked for, and at least.
SHORT_ROUNDS, SHORT_LEAST = 10, 20
# The same of rows of milliseconds for which much must be written first.
DIRTY_ROUNDS, DIRTY_LEAST = 3, 9


@dataclasses.dataclass(frozen=True)
class Target:
    """A limit for debmock's run.

    With `against`, the ratio to that contender of the same round, or with `seconds` that ratio of
    it plus so many seconds. `stretch` is the next aim.
    """

    limit: float
    against: str | None = None
    stretch: float | None = None
    seconds: float = 0.0
    what: str = "time"

    def said(self):
        if self.what == "memory":
            return f"own memory ≤ {self.limit:g} MB"
        if self.what == "disk":
            return f"disk ≤ {self.limit:g} × {self.against}"
        if self.what == "waits":
            return "none waits for another"
        if self.what == "same":
            return f"median ≤ {self.limit:g} × that of the {self.against}"
        if self.what == "added":
            return f"≤ {self.limit * 1e3:g} ms more than {self.against}"
        if not self.against:
            return f"≤ {self.limit * 1e3:g} ms"
        more = f" + {self.seconds:g} s" if self.seconds else ""
        more += f" (stretch {self.stretch:g})" if self.stretch else ""
        return f"≤ {self.limit:g} × {self.against}{more}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the report. Rows of one group are measured together; `how` says what is timed."""

    name: str
    title: str
    group: str
    how: str
    targets: tuple = ()
    ours: str = OURS


MMDEBSTRAP, RDEBOOTSTRAP, BWRAP = "mmdebstrap", "rdebootstrap", "bwrap … true"
APT, BARE, SBUILD = "apt-get install in sbuild", "bare dpkg-buildpackage", "sbuild unshare"
STOOD, ANEW = "session and command only", "and the Buildroot, too"
SBUILD_LESS = "sbuild unshare, less downloads"
ONE, SMALL = "one alone", "0.4 GB root"
TAR, UNTAR, NOTHING = "tar | zstd -T0", "zstd -d | tar -x", "python3 -c pass"

# How many times as long something may take in the large root as in the small one. A root of ten
# times the size that costs anything is far beyond it; what medians of nine rounds differ by is not.
# It is no multiple of the spread, or a run that spreads widely would excuse itself.
ROOM = 1.25
# What is timed with a gigabyte of changes.
CHANGES = {
    "snapshot": "the call of the library on a root to which 1 GB was just written (a new file, by "
                "dd in a session, which has ended; the kernel has written back what it wants)",
    "rollback": "1 GB is written above a snapshot with 1 GB in it; the call of the library that "
                "goes back to it. The deletion of what is dropped goes on beside, and not into the "
                "time",
    "clean": "as rollback, but to the base",
}
BOTH_SIZES = ". Both sizes take turns in one process. Before each, what was removed earlier has " \
             "been deleted. The large root is the small one with copies of its /usr and a file of " \
             "2 GB, as a snapshot"

ROWS = [
    Row("cold", "cold buildd root, warm mirror", "bootstrap",
        "`debmock init` with empty cache and state; `mmdebstrap --variant=buildd "
        "--format=directory`, in mode root or unshare; rdebootstrap `update` and `build` of the "
        "same set of packages. All from the same mirror, which has served these packages before; "
        "all fetch indexes and packages",
        (Target(0.25, MMDEBSTRAP, 0.20), Target(0.65, RDEBOOTSTRAP, 0.5),
         Target(300, what="memory"))),
    Row("near", "root with one package more, store warm", "bootstrap",
        "`debmock init` of a config with one package more, in the store that the cold root has "
        "left; mmdebstrap as above, without that package",
        (Target(0.16, MMDEBSTRAP),)),
    Row("fresh", "fresh root and first command, library", "library",
        "in a process that has a `Buildroot` and has used it: `clean()`, `session()`, "
        "`run([\"true\"])`, to the end of the command. So the base is chosen anew (indexes are "
        "younger than `refresh`, the base layer is there), the root stands on it, is mounted, and "
        "runs something. bubblewrap runs `true` in an unpacked tree of the same files, read-only, "
        "with all its namespaces, started by the same process",
        (Target(2.0, BWRAP),)),
    Row("more", "one more command in a session, library", "library",
        "`run([\"true\"])` in that session, once more; bubblewrap as above",
        (Target(0.25, BWRAP),)),
    Row("chroot", "debmock chroot -- true", "command",
        "the whole program, in a root that exists; bubblewrap as above; schroot begins a session "
        "with an overlay, runs `true`, ends it",
        (Target(3.0, BWRAP),)),
    Row("deps", f"dependencies of {SOURCE}, only downloads known", "build",
        "`debmock installdeps` as a whole, in a store with a base, the packages and the indexes, "
        "and neither a dependency layer nor apt's cache of one; of sbuild's log the time from the "
        "begin of apt-get's installation to its end, less its download: what sbuild does around "
        "it is not counted",
        (Target(0.5, APT),)),
    Row("rebuild", f"rebuild {SOURCE}, set known", "build",
        "`debmock rebuild` as a whole, in a store that has built this source before; "
        "`dpkg-buildpackage -us -uc -b` alone, as the build user in an open session of a root "
        "with the same dependencies, parallel on all cores like the other",
        (Target(1.05, BARE, seconds=1.0),)),
    Row("whole", f"{SOURCE} from .dsc to .deb, set not known", "build",
        "`debmock rebuild` as a whole, in a store as for the dependencies; `sbuild` in unshare "
        "mode as a whole with a kept tarball that is not packed, and without upgrade, lintian, "
        "piuparts and autopkgtest. It keeps no packages: its time less its downloads stands beside",
        (Target(0.6, SBUILD),)),
    *(Row(f"{verb}-{size}", f"{verb}, {title}, 1 GB dirty", "changes", how + BOTH_SIZES,
          (Target(0.010), *same), ours=title)
      for verb, how in CHANGES.items()
      for size, title, same in (("small", SMALL, ()),
                                ("large", "4 GB root", (Target(ROOM, SMALL, what="same"),)))),
    Row("eight-sleep", "eight sessions at once, each sleeps 1 s", "eight",
        "eight roots on one base, each with a session in a thread of its own that is opened, runs "
        "`sleep 1` and ends, against one of them alone. Disk: cache and state with all eight, "
        "against before they were made. Waits: events of kind `waiting`",
        (Target(1.1, ONE), Target(1.05, "that of the base", what="disk"),
         Target(0, what="waits"))),
    Row("eight-work", "eight sessions at once, each computes; by cores", "eight",
        "the same with a loop of the shell; the time of all is divided by sessions per core",
        (Target(1.1, ONE),)),
    Row("export", "export of the base as tar.zst", "transfer",
        "`debmock export` as a whole; `tar -c | zstd -T0` of the same level, as root in an unpacked "
        "tree of the same files",
        (Target(1.0, TAR),)),
    Row("import", "import of that archive", "transfer",
        "`debmock import` as a whole, into an empty store; `zstd -d | tar -x` as root into an empty "
        "directory",
        (Target(0.6, UNTAR),)),
    Row("module", "import debmock in Python", "python",
        "a Python that imports the module, against one that does nothing",
        (Target(0.030, NOTHING, what="added"),)),
]
GROUPS = list(dict.fromkeys(row.group for row in ROWS))


def of(name):
    return next(row for row in ROWS if row.name == name)


def chosen(words):
    """Rows by names of rows or groups; all without any. None for a word that names nothing."""
    if not words:
        return list(ROWS)
    for word in words:
        if word not in GROUPS and not any(row.name == word for row in ROWS):
            return None
    return [row for row in ROWS if row.name in words or row.group in words]


@dataclasses.dataclass
class Outcome:
    """What was measured for a row as one user: samples by contender, and where time went."""

    row: Row
    user: str
    series: dict
    notes: list = dataclasses.field(default_factory=list)
    stages: list = dataclasses.field(default_factory=list)
    division: object = None
    disk_ratio: float | None = None
    waits: int | None = None
