"""Isolated Debian and Ubuntu build environments, in your own process.

>>> import debmock
>>> with debmock.Buildroot("debian-bookworm") as root:
...     with root.session() as session:
...         session.install(["debhelper"])
...         print(session.run(["gcc", "--version"], capture_output=True, text=True).stdout)
...     result = root.rebuild("hello", resultdir="out")
...     print(result.packages)

A :class:`Config` says what is wanted, a :class:`Buildroot` is the persistent root of one, a
:class:`Session` is a buildroot that is open for programs. Long calls block, and let other threads
run; each has a form ``start_…`` that gives an :class:`Operation` at once, and :mod:`debmock.aio` has
the same names as coroutines. What fails raises an :class:`Error` of a class for its kind.

Nothing of the process is changed: no signal handler, no directory, no environment; no thread and no
descriptor is left.
"""

from __future__ import annotations

from . import _calls
from ._buildroot import Buildroot
from ._choice import Choice, CleanupAfter, Compression, ExportForm, Scrub, Status
from ._config import Config, ConfigWarning, Setting
from ._error import (
    ArchiveError,
    BootstrapError,
    BuildError,
    BuildrootError,
    BusyError,
    Cancelled,
    CommandError,
    ConfigError,
    DependencyError,
    Error,
    ErrorKind,
    ExecError,
    ForkedError,
    HelperError,
    IoError,
    IsolationError,
    LockedError,
    NoSpaceError,
    PackageError,
    ResultDirError,
    SignatureError,
    SourceError,
    StoreError,
    TimeoutError,
    UnexpectedError,
    UsageError,
)
from ._event import (
    Event,
    LimitHit,
    LinesSkipped,
    Log,
    LogLine,
    OtherEvent,
    Package,
    PackageAction,
    Progress,
    StageFinished,
    StageStarted,
    Unit,
    Waiting,
    Warning,
)
from ._native import CancelToken, __version__
from ._operation import Operation
from ._options import DEVNULL, PIPE, STDOUT
from ._process import Completed, Process
from ._result import (
    BuildResult,
    Diagnosis,
    File,
    Installed,
    KnownConfig,
    ListedBuildroot,
    ListedLayer,
    Listing,
    Mode,
    Plan,
    Planned,
    Removal,
    Snapshot,
    Stage,
)
from ._session import Session
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._log import OnEvent
    from ._options import StrPath

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "ArchiveError",
    "BootstrapError",
    "BuildError",
    "BuildResult",
    "Buildroot",
    "BuildrootError",
    "BusyError",
    "CancelToken",
    "Cancelled",
    "Choice",
    "CleanupAfter",
    "CommandError",
    "Completed",
    "Compression",
    "Config",
    "ConfigError",
    "ConfigWarning",
    "DependencyError",
    "Diagnosis",
    "Error",
    "ErrorKind",
    "Event",
    "ExecError",
    "ExportForm",
    "File",
    "ForkedError",
    "HelperError",
    "Installed",
    "IoError",
    "IsolationError",
    "KnownConfig",
    "LimitHit",
    "LinesSkipped",
    "ListedBuildroot",
    "ListedLayer",
    "Listing",
    "LockedError",
    "Log",
    "LogLine",
    "Mode",
    "NoSpaceError",
    "Operation",
    "OtherEvent",
    "Package",
    "PackageAction",
    "PackageError",
    "Plan",
    "Planned",
    "Process",
    "Progress",
    "Removal",
    "ResultDirError",
    "Scrub",
    "Session",
    "Snapshot",
    "Setting",
    "SignatureError",
    "SourceError",
    "Stage",
    "StageFinished",
    "StageStarted",
    "Status",
    "StoreError",
    "TimeoutError",
    "UnexpectedError",
    "Unit",
    "UsageError",
    "Waiting",
    "Warning",
    "__version__",
    "configs",
    "doctor",
    "list_store",
]


def configs() -> tuple[KnownConfig, ...]:
    """The configs that :meth:`Config.load` knows by name. Every built-in name can also be followed
    by an architecture (``debian-trixie-arm64``); these are not listed.

    Raises :class:`ConfigError` if a directory of configs cannot be read.
    """
    return _calls.configs().wait(None, None)


def doctor(
    config: Config | None = None,
    *,
    helper: StrPath | None = None,
    on_event: OnEvent | None = None,
    cancel: CancelToken | None = None,
) -> Diagnosis:
    """What this machine can do: tries every isolation mode for real. The config says which ids root
    may use, ``helper`` where the program debmock-helper is; both are found by themselves."""
    return _calls.doctor(config, helper).wait(on_event, cancel)


def list_store(config: Config | str | None = None) -> Listing:
    """What lies in the store of this user, as far as the isolation mode of the config can see it:
    :meth:`Buildroot.list`."""
    with Buildroot(config) as root:
        return root.list()
