"""Sessions: buildroots that are open."""

from __future__ import annotations

from . import _process
from ._buildroot import Work
from ._calls import OpenCalls, SessionCalls
from ._operation import Operation
from ._process import Completed, Process
from ._typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal

    from typing_extensions import Unpack

    from . import _native
    from ._buildroot import Buildroot
    from ._log import OnEvent
    from ._native import CancelToken
    from ._options import Argv, ProgramOptions, RunOptions, StrPath
    from ._process import Stream


class Session(Work):
    """A buildroot that is open: namespaces that programs run in. :meth:`Buildroot.session` opens
    it.

    It ends with its last user (other sessions of the same buildroot, programs, operations): then
    every process and every mount of it is gone. Any number of threads may use it. In a forked
    child every call raises :class:`ForkedError`.

    What a buildroot does with packages (:meth:`~Work.install`, :meth:`~Work.rebuild` and so on) it
    does here, too, in this session.
    """

    __slots__ = ("_buildroot", "_session")

    def __init__(self, buildroot: Buildroot, native: _native.Session) -> None:
        super().__init__(OpenCalls(buildroot._calls, native))
        self._buildroot = buildroot
        self._session = SessionCalls(native)

    @property
    def buildroot(self) -> Buildroot:
        """What is open."""
        return self._buildroot

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._session.native.closed

    def close(self) -> None:
        """Ends the session with its processes and mounts, unless somebody else uses it, and waits
        for that. Calls after it raise :class:`UsageError`."""
        self._session.native.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<debmock.Session of {self._buildroot.name!r}{state}>"

    @overload
    def run(
        self,
        argv: Argv = None,
        *,
        text: Literal[True],
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[str]: ...

    @overload
    def run(
        self,
        argv: Argv = None,
        *,
        text: Literal[False] = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[bytes]: ...

    def run(
        self,
        argv: Argv = None,
        *,
        text: bool = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[Any]:
        """Runs a program inside and waits for its end. ``argv`` is the program and its arguments;
        a string is a line for ``/bin/sh``, and without any it is a login shell.

        What it prints becomes :class:`LogLine` of :attr:`Log.COMMAND`, both streams mixed as they
        come; nothing reaches the standard streams of this process. With ``capture_output`` it is
        kept for the result instead: bytes, or with ``text`` strings, which are UTF-8.

        - ``check``: raise :class:`CommandError` if the program fails; without it that is no error.
        - ``capture_output``: keep what it prints; ``stderr=STDOUT`` mixes both streams;
          ``max_output``: fail beyond so many bytes (64 MiB), ``None`` for no limit; ``errors``:
          what becomes of bytes that are no UTF-8.
        - ``input``: what it reads; nothing if not given.
        - ``env``: variables over a minimal environment; ``clear_env``: without that.
        - ``cwd``: working directory inside; ``user``: name or number, as the root knows it.
        - ``network``: the host's network instead of none; looking up names needs a session with
          ``network=True``.
        - ``timeout``, ``silence_timeout``: end it after this time, or when it printed nothing for
          so long (seconds or ``timedelta``).
        - ``suppress_sync``: fsync(2) and its relatives succeed without effect; ``linux32``: the
          32-bit personality.

        Raises :class:`ExecError` if it cannot be started, :class:`TimeoutError` after a limit.
        """
        done: Completed[Any] = self._session.run(argv, text, options).wait(on_event, cancel)
        return done

    @overload
    def start_run(
        self,
        argv: Argv = None,
        *,
        text: Literal[True],
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Operation[Completed[str]]: ...

    @overload
    def start_run(
        self,
        argv: Argv = None,
        *,
        text: Literal[False] = False,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Operation[Completed[bytes]]: ...

    def start_run(
        self,
        argv: Argv = None,
        *,
        text: bool = False,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Operation[Any]:
        """Starts :meth:`run`."""
        return Operation(self._session.run(argv, text, options), cancel)

    @overload
    def popen(
        self,
        argv: Argv = None,
        *,
        text: Literal[True],
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        terminal: bool | tuple[int, int] = False,
        **options: Unpack[ProgramOptions],
    ) -> Process[str]: ...

    @overload
    def popen(
        self,
        argv: Argv = None,
        *,
        text: Literal[False] = False,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        terminal: bool | tuple[int, int] = False,
        **options: Unpack[ProgramOptions],
    ) -> Process[bytes]: ...

    def popen(
        self,
        argv: Argv = None,
        *,
        text: bool = False,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        terminal: bool | tuple[int, int] = False,
        **options: Unpack[ProgramOptions],
    ) -> Process[Any]:
        """Starts a program inside and does not wait for it.

        Each stream is a descriptor or file of the caller's (which is copied), ``PIPE``, or the
        null device; ``stderr`` may be ``STDOUT``. With ``terminal``, True or (rows, columns), the
        program runs on a terminal of the root's own instead: :attr:`Process.terminal` is our end,
        and :meth:`Process.resize` changes its size. ``argv`` and the other options are those of
        :meth:`run`.

        Raises :class:`ExecError` if it cannot be started, :class:`UsageError` for directories and
        terminals as streams, which would be ways out of the root.
        """
        streams = (stdin, stdout, stderr)
        native = self._session.native
        process, ours = _process.start(native, argv, streams, terminal, options)
        return Process(argv, process, ours, text)

    def copy_in(
        self,
        host: StrPath,
        inside: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Copies a file or a directory of the host to a path inside; below it, if that is a
        directory. Inside it belongs to root.

        Raises :class:`IoError` if it cannot be read.
        """
        self._session.copy_in(host, inside).wait(on_event, cancel)

    def start_copy_in(
        self, host: StrPath, inside: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`copy_in`."""
        return Operation(self._session.copy_in(host, inside), cancel)

    def copy_out(
        self,
        inside: StrPath,
        host: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Copies a file or a directory of the root to a path of the host; below it, if that is a
        directory. It appears complete or not at all and belongs to the caller. No symbolic link
        is followed out of the root.

        Raises :class:`BuildrootError` if it is neither a file nor a directory,
        :class:`UsageError` if a directory is to replace something.
        """
        self._session.copy_out(inside, host).wait(on_event, cancel)

    def start_copy_out(
        self, inside: StrPath, host: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`copy_out`."""
        return Operation(self._session.copy_out(inside, host), cancel)
