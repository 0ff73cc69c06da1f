"""Sessions in an event loop."""

from __future__ import annotations

from .. import _process as processes
from .._calls import OpenCalls, SessionCalls
from .._typing import TYPE_CHECKING, overload
from ._operation import Operation
from ._process import Process
from ._work import Work

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Literal

    from typing_extensions import Unpack

    from .. import _native
    from .._log import OnEvent
    from .._native import CancelToken
    from .._options import Argv, ProgramOptions, RunOptions, StrPath
    from .._process import Completed, Stream
    from ._buildroot import Buildroot


class Session(Work):
    """A buildroot that is open: :class:`debmock.Session` with coroutines. :meth:`Buildroot.session`
    opens it."""

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

    async def close(self) -> None:
        """Ends the session with its processes and mounts, unless somebody else uses it, and waits
        for that. Calls after it raise :class:`~debmock.UsageError`."""
        if not self.closed:
            await Operation(self._session.close(), None)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<debmock.aio.Session of {self._buildroot.name!r}{state}>"

    @overload
    async def run(
        self,
        argv: Argv = None,
        *,
        text: Literal[True],
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[str]: ...

    @overload
    async def run(
        self,
        argv: Argv = None,
        *,
        text: Literal[False] = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[bytes]: ...

    async def run(
        self,
        argv: Argv = None,
        *,
        text: bool = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[RunOptions],
    ) -> Completed[Any]:
        """:meth:`debmock.Session.run`."""
        operation = self.start_run(argv, text=text, cancel=cancel, **options)  # type: ignore[call-overload]
        done: Completed[Any] = await operation.result(on_event)
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

    async def popen(
        self,
        argv: Argv = None,
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        terminal: bool | tuple[int, int] = False,
        **options: Unpack[ProgramOptions],
    ) -> Process:
        """:meth:`debmock.Session.popen`; pipes and terminals are streams of asyncio, of bytes."""
        streams = (stdin, stdout, stderr)
        native = self._session.native
        started, ours = processes.start(native, argv, streams, terminal, options)
        process = Process(argv, started)
        await process._connect(ours)
        return process

    async def copy_in(
        self,
        host: StrPath,
        inside: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """:meth:`debmock.Session.copy_in`."""
        await self.start_copy_in(host, inside, cancel=cancel).result(on_event)

    def start_copy_in(
        self, host: StrPath, inside: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`copy_in`."""
        return Operation(self._session.copy_in(host, inside), cancel)

    async def copy_out(
        self,
        inside: StrPath,
        host: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """:meth:`debmock.Session.copy_out`."""
        await self.start_copy_out(inside, host, cancel=cancel).result(on_event)

    def start_copy_out(
        self, inside: StrPath, host: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`copy_out`."""
        return Operation(self._session.copy_out(inside, host), cancel)
