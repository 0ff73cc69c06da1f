"""Exceptions. Each kind of error has a class of its own, all below :class:`Error`."""

from __future__ import annotations

import builtins
import enum

from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._result import BuildResult


class ErrorKind(enum.IntEnum):
    """What sort of thing went wrong. Numbers are stable: they are those of the C interface."""

    UNEXPECTED = 1
    CONFIG = 2
    USAGE = 3
    ARCHIVE = 4
    SIGNATURE = 5
    DEPENDENCY = 6
    PACKAGE = 7
    BUILD = 8
    TIMEOUT = 9
    BUILDROOT = 10
    LOCKED = 11
    BUSY = 12
    RESULT_DIR = 13
    ISOLATION = 14
    BOOTSTRAP = 15
    SOURCE = 16
    CANCELLED = 17
    FORKED = 18
    IO = 19
    NO_SPACE = 20
    STORE = 21
    HELPER = 22
    EXEC = 23


class Error(Exception):
    """Base of every exception of debmock.

    ``str()`` gives what failed with what and all its causes, on one line.
    """

    #: Its kind; :attr:`ErrorKind.UNEXPECTED` for one that this version does not know.
    kind: ErrorKind = ErrorKind.UNEXPECTED
    #: What to do about it, where that is known.
    hint: str | None
    #: The sentences of the message one by one: the failure first, each further one the cause of
    #: that before.
    chain: tuple[str, ...]
    #: What there is of a build that failed: its logs, the stages that it got through, the stage
    #: that failed. ``None`` for errors of other calls.
    result: BuildResult | None

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        chain: tuple[str, ...] = (),
        errno: int | None = None,
        result: BuildResult | None = None,
    ) -> None:
        super().__init__(message)
        self._message = message
        self.hint = hint
        self.chain = chain or (message,)
        self.result = result
        self._errno = errno
        self._set_errno()

    def _set_errno(self) -> None:
        """What those that are an OSError, too, have of that."""

    @property
    def detail(self) -> str | None:
        """The causes without the failure itself, on one line; ``None`` if there are none."""
        return ": ".join(self.chain[1:]) or None

    @property
    def exit_code(self) -> int:
        """The exit status that the command line gives for this kind of error."""
        from ._native import error_kinds

        codes = {number: code for number, _, _, code in error_kinds()}
        return codes[self.kind]

    def __str__(self) -> str:
        return self._message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (
            type(self),
            {
                "message": self._message,
                "hint": self.hint,
                "chain": self.chain,
                "errno": self._errno,
                "result": self.result,
            },
        )


def _restore(cls: type[Error], values: dict[str, Any]) -> Error:
    return cls(values.pop("message"), **values)


class UnexpectedError(Error):
    """Anything that no other class describes; also an error of debmock itself."""


class ConfigError(Error):
    """A configuration file, option or host configuration that cannot be used."""

    kind = ErrorKind.CONFIG


class UsageError(Error, ValueError):
    """A call with arguments that make no sense."""

    kind = ErrorKind.USAGE


class ArchiveError(Error):
    """An archive that cannot be reached or whose data do not fit together."""

    kind = ErrorKind.ARCHIVE


class SignatureError(Error):
    """A signature that is missing, wrong, expired or from an unknown key."""

    kind = ErrorKind.SIGNATURE


class DependencyError(Error):
    """Dependencies that cannot be satisfied."""

    kind = ErrorKind.DEPENDENCY


class PackageError(Error):
    """apt or dpkg failed inside a root."""

    kind = ErrorKind.PACKAGE


class BuildError(Error):
    """The package did not build; :attr:`Error.result` has its logs and stages."""

    kind = ErrorKind.BUILD


class _System(Error, OSError):
    def _set_errno(self) -> None:
        self.errno = self._errno
        self.strerror = self.chain[-1]


class TimeoutError(_System, builtins.TimeoutError):
    """A time limit ran out. It is the built-in ``TimeoutError``, too."""

    kind = ErrorKind.TIMEOUT


class BuildrootError(Error):
    """A buildroot that is missing, damaged or cannot be changed."""

    kind = ErrorKind.BUILDROOT


class LockedError(Error):
    """Another process holds the buildroot and the time to wait ran out."""

    kind = ErrorKind.LOCKED


class BusyError(Error):
    """A session of this process is open on the buildroot."""

    kind = ErrorKind.BUSY


class IsolationError(Error):
    """This machine or user cannot have the isolation that was asked for."""

    kind = ErrorKind.ISOLATION


class BootstrapError(Error):
    """The first layer could not be made."""

    kind = ErrorKind.BOOTSTRAP


class SourceError(Error):
    """A source package that cannot be used: missing, damaged or hostile."""

    kind = ErrorKind.SOURCE


class Cancelled(Error):
    """The caller cancelled. It is not asyncio's ``CancelledError``, which stays asyncio's own."""

    kind = ErrorKind.CANCELLED


class ForkedError(Error):
    """An object was used in a forked child of the process that made it."""

    kind = ErrorKind.FORKED


class IoError(_System):
    """The operating system refused an operation on a file or descriptor. It is an ``OSError``
    with its ``errno``, too."""

    kind = ErrorKind.IO


class NoSpaceError(IoError):
    """The device is full."""

    kind = ErrorKind.NO_SPACE


class ResultDirError(IoError):
    """The result directory cannot be written."""

    kind = ErrorKind.RESULT_DIR


class StoreError(Error):
    """The store or its state is damaged or cannot be used."""

    kind = ErrorKind.STORE


class HelperError(Error):
    """The helper program is missing, of another build, or broke the protocol."""

    kind = ErrorKind.HELPER


class ExecError(Error):
    """A command inside the root could not be started."""

    kind = ErrorKind.EXEC


class CommandError(Error):
    """A program that was run with ``check=True`` failed.

    It has what ``subprocess.CalledProcessError`` has.
    """

    #: What was run.
    cmd: object
    #: Its exit status; the number of the signal that ended it, negative, if one did.
    returncode: int
    #: What it printed, if that was captured.
    stdout: bytes | str | None
    #: What it printed to its standard error, if that was captured by itself.
    stderr: bytes | str | None

    def __init__(
        self,
        cmd: object,
        returncode: int,
        stdout: bytes | str | None = None,
        stderr: bytes | str | None = None,
    ) -> None:
        shown = cmd if isinstance(cmd, str) else _words(cmd)
        how = f"status {returncode}" if returncode >= 0 else f"signal {-returncode}"
        super().__init__(f"{shown} ended with {how}")
        self.cmd = cmd
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cmd, self.returncode, self.stdout, self.stderr)


def _words(cmd: object) -> str:
    if cmd is None:
        return "the shell"
    try:
        return " ".join(str(word) for word in cmd)  # type: ignore[attr-defined]
    except TypeError:
        return str(cmd)


CLASSES: dict[int, type[Error]] = {
    cls.kind.value: cls
    for cls in list(globals().values())
    if isinstance(cls, type)
    and issubclass(cls, Error)
    and cls not in (Error, CommandError, _System)
}


def from_native(told: Mapping[str, Any]) -> Error:
    """The exception of an error of the native module."""
    result = told.get("result")
    if result is not None:
        from ._result import BuildResult

        result = BuildResult.from_native(result)
    return CLASSES.get(told["kind"], Error)(
        told["message"],
        hint=told["hint"],
        chain=tuple(told["chain"]),
        errno=told["errno"],
        result=result,
    )
