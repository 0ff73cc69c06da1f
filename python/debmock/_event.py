"""Events: what happens while debmock works.

Every event is a :class:`Event` of one of the classes below it; what a version of debmock does not
know is an :class:`OtherEvent`. Fields and classes are only ever added.
"""

from __future__ import annotations

from ._choice import Choice
from ._record import Record
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Unit(Choice):
    """What :class:`Progress` counts."""

    BYTES = "bytes"
    PACKAGES = "packages"
    FILES = "files"


class PackageAction(Choice):
    """What was done to a package."""

    FETCHED = "fetched"
    UNPACKED = "unpacked"
    CONFIGURED = "configured"
    INSTALLED = "installed"
    REMOVED = "removed"


class Log(Choice):
    """The logs of a build or of an operation on a root."""

    #: What the build printed.
    BUILD = "build"
    #: What happened to the root: bootstrap, apt, dpkg.
    ROOT = "root"
    #: What a program printed.
    COMMAND = "command"


class Event(Record):
    """Something that started, moved or finished."""

    __slots__ = ("operation", "sequence", "time", "elapsed")

    #: The operation that it belongs to; unique in this process.
    operation: int
    #: Counts up from 0 within the operation; numbers may be missing.
    sequence: int
    #: When, in seconds since 1970, by the wall clock.
    time: float
    #: Seconds since the operation started, by the monotonic clock.
    elapsed: float


class StageStarted(Event):
    """A stage began. Stages nest."""

    __slots__ = ("stage", "detail")

    #: Its name, which is stable: ``fetch``, ``unpack``, ``build`` and so on.
    stage: str
    #: What it works on, for people.
    detail: str


class StageFinished(Event):
    """A stage ended."""

    __slots__ = ("stage", "seconds", "success")

    #: The name that started.
    stage: str
    #: How long it took.
    seconds: float
    #: Whether it succeeded.
    success: bool


class Progress(Event):
    """A stage moved on."""

    __slots__ = ("stage", "done", "total", "unit")

    #: The stage.
    stage: str
    #: How much is done, in :attr:`unit`.
    done: int
    #: How much there is, where that is known.
    total: int | None
    #: What is counted.
    unit: Unit


class Package(Event):
    """A package was fetched, unpacked, configured, installed or removed."""

    __slots__ = ("action", "name", "version", "architecture")

    #: What was done to it.
    action: PackageAction
    #: Name of the binary package.
    name: str
    #: Its version.
    version: str
    #: Its architecture.
    architecture: str


class LogLine(Event):
    """A line of a log."""

    __slots__ = ("log", "text")

    #: The log; those of builds are files, too.
    log: Log
    #: The line without its end; bytes that are not UTF-8 are replaced.
    text: str


class LinesSkipped(Event):
    """Lines of a log that the queue had no room for: nobody read events in time."""

    __slots__ = ("log", "count")

    #: The log that has them.
    log: Log
    #: How many.
    count: int


class Warning(Event):
    """Something that the user should know and that stops nothing."""

    __slots__ = ("message", "hint")

    #: What it is.
    message: str
    #: What to do about it, where that is known.
    hint: str | None


class Waiting(Event):
    """The operation waits for somebody else."""

    __slots__ = ("what", "holder")

    #: For what.
    what: str
    #: Who holds it.
    holder: str


class LimitHit(Event):
    """A limit was reached."""

    __slots__ = ("limit",)

    #: Which: ``wall``, ``silence``, ``memory``, ``disk``, ``processes``.
    limit: str


class OtherEvent(Event):
    """An event that this version of the package has no class for."""

    __slots__ = ("name", "data")

    #: Its name.
    name: str
    #: All its members.
    data: Mapping[str, Any]


CLASSES: dict[str, type[Event]] = {
    "stage_started": StageStarted,
    "stage_finished": StageFinished,
    "progress": Progress,
    "package": Package,
    "log_line": LogLine,
    "lines_skipped": LinesSkipped,
    "warning": Warning,
    "waiting": Waiting,
    "limit_hit": LimitHit,
}

_ENUMS: dict[str, Callable[[str], Choice]] = {
    "unit": Unit,
    "action": PackageAction,
    "log": Log,
}


def from_native(told: Mapping[str, Any]) -> Event:
    """The event of a dictionary of the native module, which is that of ``debmock --json``."""
    cls = CLASSES.get(told["event"], OtherEvent)
    values: dict[str, Any] = {}
    try:
        for name in cls._fields:
            value: Any = told.get(name)
            convert = _ENUMS.get(name)
            values[name] = value if convert is None else convert(value)
    except ValueError:
        cls = OtherEvent
    if cls is OtherEvent:
        values = {name: told[name] for name in Event._fields}
        values |= {"name": told["event"], "data": dict(told)}
    return cls(**values)
