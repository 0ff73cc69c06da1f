"""Programs inside that run while the event loop does other things."""

from __future__ import annotations

import asyncio
import os

from .._process import returncode
from .._typing import TYPE_CHECKING
from ._operation import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .. import _native
    from .._options import Argv


class Process:
    """A running program, as ``asyncio.subprocess.Process`` has it.

    It is killed with its process group when it is closed, when its object is deleted, and at the
    end of its session, which it keeps open. With ``async with`` it is waited for, or killed if the
    block raises.
    """

    __slots__ = (
        "__weakref__",
        "_native",
        "_readable",
        "_terminal",
        "args",
        "returncode",
        "stderr",
        "stdin",
        "stdout",
    )

    def __init__(self, argv: Argv, native: _native.Process) -> None:
        self._native = native
        self._readable = Readable(native.fileno())
        #: What was run.
        self.args = argv
        #: Its exit status, or the signal that ended it, negative; ``None`` until somebody has
        #: waited for it.
        self.returncode: int | None = None
        #: Where to write what it reads, if that is a pipe or a terminal.
        self.stdin: asyncio.StreamWriter | None = None
        #: Where to read what it prints, if that is a pipe or a terminal.
        self.stdout: asyncio.StreamReader | None = None
        #: Where to read what it prints to its standard error, if that is a pipe of its own.
        self.stderr: asyncio.StreamReader | None = None
        self._terminal = native.terminal()

    async def _connect(self, ours: Mapping[int, int]) -> None:
        ends = dict(ours)
        if self._terminal is not None:
            ends = {0: os.dup(self._terminal), 1: os.dup(self._terminal)}
        try:
            if 0 in ends:
                self.stdin = await _writer(ends.pop(0))
            if 1 in ends:
                self.stdout = await _reader(ends.pop(1))
            if 2 in ends:
                self.stderr = await _reader(ends.pop(2))
        finally:
            for descriptor in ends.values():
                os.close(descriptor)

    async def wait(self) -> int:
        """Waits for the end of the program; its :attr:`returncode`. If the task is cancelled, the
        program goes on."""
        while self.returncode is None:
            told = self._native.wait(0)
            if told is not None:
                self.returncode = returncode(told)
            else:
                await self._readable.wait()
        return self.returncode

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Writes ``input`` to its standard input, reads what it prints, and waits for its end; what
        it printed to the two streams, as far as they are pipes."""

        async def feed() -> None:
            if self.stdin is None:
                return
            try:
                if input:
                    self.stdin.write(input)
                    await self.stdin.drain()
                self.stdin.close()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has read enough

        async def read(stream: asyncio.StreamReader | None) -> bytes | None:
            return None if stream is None else await stream.read()

        _, output, errors = await asyncio.gather(feed(), read(self.stdout), read(self.stderr))
        await self.wait()
        return output, errors

    def send_signal(self, signal: int) -> None:
        """Sends a signal to its process group; nothing if its end is known."""
        if self.returncode is None:
            self._native.send_signal(int(signal))

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(9)

    def resize(self, rows: int, columns: int) -> None:
        """Tells the program that its terminal has another size."""
        self._native.resize(rows, columns)

    def close(self) -> None:
        """Kills a program that has not ended, and closes its streams."""
        if self.stdin is not None:
            self.stdin.close()
        for stream in (self.stdout, self.stderr):
            # Streams of asyncio are closed by their transports, and have no other name for them.
            transport = getattr(stream, "_transport", None)
            if transport is not None:
                transport.close()
        self._native.close()

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self._native.closed:
                if self.stdin is not None:
                    self.stdin.close()
                await self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<debmock.aio.Process {self.args!r} returncode={self.returncode}>"


async def _reader(descriptor: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await loop.connect_read_pipe(lambda: protocol, open(descriptor, "rb", buffering=0))
    return reader


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, open(descriptor, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
