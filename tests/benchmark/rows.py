"""What is compared, and which ratio of the same run is the target. Absolute times are no targets,
but where something must not depend on the size of a root."""

import dataclasses

SUITE = "bookworm"
SOURCE = "hello"
OURS = "debmock"
# How many rounds a row of milliseconds has for each round that was asked for, and at least.
SHORT_ROUNDS, SHORT_LEAST = 10, 20


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
        if self.what == "same":
            return f"as {self.against}, within the spread"
        if self.what == "added":
            return f"≤ {self.limit * 1e3:g} ms more than {self.against}"
        if not self.against:
            return f"≤ {self.limit * 1e3:g} ms"
        more = f" + {self.seconds:g} s" if self.seconds else ""
        more += f" (stretch {self.stretch:g})" if self.stretch else ""
        return f"≤ {self.limit:g} × {self.against}{more}"


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the report. Rows of one group are measured together."""

    name: str
    title: str
    group: str
    targets: tuple = ()
    ours: str = OURS


MMDEBSTRAP, RDEBOOTSTRAP, BWRAP = "mmdebstrap", "rdebootstrap", "bwrap … true"
APT, BARE, SBUILD = "apt-get install in sbuild", "bare dpkg-buildpackage", "sbuild unshare"
ONE, SMALL = "one alone", "0.4 GB root"
TAR, UNTAR, NOTHING = "tar | zstd -T0", "zstd -d | tar -x", "python3 -c pass"

ROWS = [
    Row("cold", "cold buildd root, warm mirror", "bootstrap",
        (Target(0.25, MMDEBSTRAP, 0.20), Target(0.65, RDEBOOTSTRAP, 0.5),
         Target(300, what="memory"))),
    Row("near", "root with one package more, store warm", "bootstrap",
        (Target(0.16, MMDEBSTRAP),)),
    Row("fresh", "fresh root and first command, library", "library", (Target(2.0, BWRAP),)),
    Row("more", "one more command in a session, library", "library", (Target(0.25, BWRAP),)),
    Row("chroot", "debmock chroot -- true", "command", (Target(3.0, BWRAP),)),
    Row("deps", f"dependencies of {SOURCE}, only downloads known", "build", (Target(0.5, APT),)),
    Row("rebuild", f"rebuild {SOURCE}, set known", "build",
        (Target(1.05, BARE, seconds=1.0),)),
    Row("whole", f"{SOURCE} from .dsc to .deb, set not known", "build", (Target(0.6, SBUILD),)),
    *(Row(f"{verb}-{size}", f"{verb}, {title}, 1 GB dirty", "changes",
          (Target(0.010), *same), ours=title)
      for verb in ("snapshot", "rollback", "clean")
      for size, title, same in (("small", SMALL, ()),
                                ("large", "4 GB root", (Target(0, SMALL, what="same"),)))),
    Row("eight-sleep", "eight sessions at once, each sleeps 1 s", "eight",
        (Target(1.1, ONE), Target(1.05, "that of the base", what="disk"))),
    Row("eight-work", "eight sessions at once, each computes; by cores", "eight",
        (Target(1.1, ONE),)),
    Row("export", "export of the base as tar.zst", "transfer", (Target(1.0, TAR),)),
    Row("import", "import of that archive", "transfer", (Target(0.6, UNTAR),)),
    Row("module", "import debmock in Python", "python", (Target(0.030, NOTHING, what="added"),)),
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
    calls: list = dataclasses.field(default_factory=list)
    disk_ratio: float | None = None
