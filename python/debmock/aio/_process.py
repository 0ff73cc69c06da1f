"""Programs inside that run while the event loop does other things."""

from __future__ import annotations

import asyncio
import io
import os

from .._process import returncode
from .._stream import unread
from .._typing import TYPE_CHECKING
from ._operation import Readable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from .. import _native
    from .._options import Argv


#: Turns of the loop in which what was read reaches those who wait for it.
_TURNS = 8


class Process:
    """A running program, as ``asyncio.subprocess.Process`` has it.

    It is killed with its process group when it is closed, when its object is deleted, and at the
    end of its session, which it keeps open. With ``async with`` it is waited for, or killed if the
    block raises.
    """

    __slots__ = (
        "__weakref__",
        "_native",
        "_pipes",
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
        #: What is read from, by the numbers of the streams.
        self._pipes: dict[int, tuple[asyncio.StreamReader, _Pipe]] = {}

    async def _connect(self, ours: Mapping[int, int]) -> None:
        ends = dict(ours)
        if self._terminal is not None:
            ends = {0: os.dup(self._terminal), 1: os.dup(self._terminal)}
        try:
            if 0 in ends:
                self.stdin = await _writer(ends.pop(0))
            for number in (1, 2):
                if number in ends:
                    self._pipes[number] = await _reader(ends.pop(number))
        finally:
            for descriptor in ends.values():
                os.close(descriptor)
        if 1 in self._pipes:
            self.stdout = self._pipes[1][0]
        if 2 in self._pipes:
            self.stderr = self._pipes[2][0]

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
        it printed to the two streams, as far as they are pipes. What processes in the background
        print after its end is not waited for."""
        kept: dict[int, bytearray] = {}
        tasks = [asyncio.ensure_future(self._feed(input))]
        for number, (reader, _) in self._pipes.items():
            kept[number] = bytearray()
            tasks.append(asyncio.ensure_future(_collect(reader, kept[number])))
        try:
            await self.wait()
            # What a process in the background prints later is not waited for.
            due = [(pipe, pipe.due()) for _, pipe in self._pipes.values()]
            while any(pipe.reads and pipe.received < count for pipe, count in due):
                await asyncio.sleep(0.001)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        output, errors = (kept.get(number) for number in (1, 2))
        return (
            None if output is None else bytes(output),
            None if errors is None else bytes(errors),
        )

    async def _feed(self, input: bytes | None) -> None:
        if self.stdin is None:
            return
        try:
            if input:
                self.stdin.write(input)
                await self.stdin.drain()
            self.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has read enough

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
        for _, pipe in self._pipes.values():
            pipe.transport.close()
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


class _Pipe(asyncio.StreamReaderProtocol):
    """A pipe that the loop reads."""

    def __init__(self, reader: asyncio.StreamReader, file: io.FileIO) -> None:
        super().__init__(reader)
        self.file = file
        #: Bytes that the loop has read.
        self.received = 0
        self.transport: asyncio.ReadTransport

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        super().data_received(data)

    @property
    def reads(self) -> bool:
        """Whether more may come."""
        return not self.file.closed and not self.transport.is_closing()

    def due(self) -> int:
        """How much the loop will have read when it has read what is in the pipe now."""
        return self.received + (unread(self.file.fileno()) if self.reads else 0)


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, _Pipe]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = _Pipe(reader, io.FileIO(descriptor, "r"))
    pipe.transport, _ = await loop.connect_read_pipe(lambda: pipe, pipe.file)
    return reader, pipe


async def _collect(reader: asyncio.StreamReader, kept: bytearray) -> None:
    while piece := await reader.read(65536):
        kept += piece


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, open(descriptor, "wb", buffering=0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)
