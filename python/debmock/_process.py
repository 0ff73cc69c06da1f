"""Programs inside: how they ended, and those that still run."""

from __future__ import annotations

import io
import os

from ._error import CommandError, Error, TimeoutError, UsageError
from ._options import DEVNULL, PIPE, STDOUT, program_options, seconds
from ._record import Record
from ._typing import TYPE_CHECKING, Generic, Output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import IO, Any

    from . import _native
    from ._options import Argv, Duration, ProgramOptions

    #: A stream of a program: ``None`` or ``DEVNULL``, ``PIPE``, ``STDOUT``, a descriptor, a file.
    Stream = int | IO[Any] | None


class Completed(Record, Generic[Output]):
    """A program that has ended, as ``subprocess.CompletedProcess`` has it."""

    __slots__ = (
        "args",
        "returncode",
        "stdout",
        "stderr",
        "user_seconds",
        "system_seconds",
        "peak_memory_kib",
    )

    #: What was run.
    args: object
    #: Its exit status; the number of the signal that ended it, negative, if one did.
    returncode: int
    #: What it printed, if that was captured.
    stdout: Output | None
    #: What it printed to its standard error, if that was captured by itself.
    stderr: Output | None
    #: Processor time in user mode, seconds.
    user_seconds: float
    #: Processor time in the kernel, seconds.
    system_seconds: float
    #: Peak memory of the largest of its processes, KiB.
    peak_memory_kib: int

    def check_returncode(self) -> None:
        """Raises :class:`CommandError` if it failed."""
        if self.returncode != 0:
            raise CommandError(self.args, self.returncode, self.stdout, self.stderr)


def returncode(told: Mapping[str, Any]) -> int:
    """The exit status that the native module tells, or the signal, negative."""
    status = told["status"]
    return int(-(told["signal"] or 0) if status is None else status)


def completed(
    argv: Argv, told: Mapping[str, Any], text: bool, streams: Mapping[str, Any]
) -> Completed[Any]:
    """The end of a program that the native module ran."""

    def convert(output: bytes | None) -> str | bytes | None:
        return output.decode(errors=streams["errors"]) if text and output is not None else output

    done: Completed[Any] = Completed(
        args=argv,
        returncode=returncode(told),
        stdout=convert(told["stdout"]),
        stderr=convert(told["stderr"]),
        user_seconds=told["user_seconds"],
        system_seconds=told["system_seconds"],
        peak_memory_kib=told["peak_memory_kib"],
    )
    if streams["check"]:
        done.check_returncode()
    return done


class Pipes:
    """The ends of the pipes of a program that is being started."""

    __slots__ = ("_theirs", "ours")

    def __init__(self) -> None:
        #: Our ends, by the number of the stream.
        self.ours: dict[int, int] = {}
        self._theirs: list[int] = []

    def stream(self, number: int, given: Stream, output: int = DEVNULL) -> int:
        """The descriptor that the native module is given for a stream, -1 for the null device."""
        if given is None or given == DEVNULL:
            return -1
        if given == STDOUT and number == 2:
            return output
        if given == PIPE:
            read, write = os.pipe()
            self.ours[number], theirs = (write, read) if number == 0 else (read, write)
            self._theirs.append(theirs)
            # A pipe belongs to who made it, and opening /dev/stdout asks.
            os.fchmod(theirs, 0o666)
            return theirs
        descriptor = given if isinstance(given, int) else given.fileno()
        if descriptor < 0:
            raise ValueError(f"{given!r} is no stream")
        return descriptor

    def started(self) -> None:
        """Closes the program's ends, which it has now."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        """Closes everything: the program was not started."""
        self.started()
        while self.ours:
            os.close(self.ours.popitem()[1])


def start(
    session: _native.Session,
    argv: Argv,
    streams: tuple[Stream, Stream, Stream],
    terminal: bool | tuple[int, int],
    given: ProgramOptions,
) -> tuple[_native.Process, dict[int, int]]:
    """Starts a program; our ends of its pipes by the numbers of the streams."""
    options = program_options(argv, given)
    if terminal:
        if streams != (None, None, None):
            raise UsageError("a program on a terminal has no other streams")
        rows, columns = (24, 80) if isinstance(terminal, bool) else terminal
        return session.spawn_terminal(options, rows, columns), {}
    pipes = Pipes()
    try:
        stdin = pipes.stream(0, streams[0])
        stdout = pipes.stream(1, streams[1])
        stderr = pipes.stream(2, streams[2], stdout)
        process = session.spawn(options, stdin, stdout, stderr)
    except BaseException:
        pipes.close()
        raise
    pipes.started()
    return process, pipes.ours


class Process(Generic[Output]):
    """A running program, as ``subprocess.Popen`` has it.

    It is killed with its process group when it is closed, when its object is deleted, and at the
    end of its session, which it keeps open. As a context manager it closes its streams and waits
    for the program; if the block raises, the program is killed. Any number of threads may use it.
    In a forked child every call raises :class:`ForkedError`.
    """

    __slots__ = (
        "__weakref__",
        "_native",
        "args",
        "stderr",
        "stdin",
        "stdout",
        "terminal",
        "returncode",
    )

    def __init__(
        self, argv: Argv, native: _native.Process, ours: Mapping[int, int], text: bool
    ) -> None:
        self._native = native
        #: What was run.
        self.args = argv
        #: Its exit status, or the signal that ended it, negative; ``None`` until somebody has
        #: asked after it ended.
        self.returncode: int | None = None
        #: Where to write what it reads, if that is a pipe.
        self.stdin: IO[Output] | None = _file(ours.get(0), "w", text)
        #: Where to read what it prints, if that is a pipe.
        self.stdout: IO[Output] | None = _file(ours.get(1), "r", text)
        #: Where to read what it prints to its standard error, if that is a pipe of its own.
        self.stderr: IO[Output] | None = _file(ours.get(2), "r", text)
        #: Our end of its terminal, to read and write bytes; reading raises ``OSError`` once the
        #: program has ended. ``None`` if it has no terminal.
        self.terminal: io.FileIO | None = None
        descriptor = native.terminal()
        if descriptor is not None:
            self.terminal = io.FileIO(os.dup(descriptor), "r+")

    def fileno(self) -> int:
        """A descriptor that ``select`` finds readable when the program has ended. It belongs to
        the process: neither read nor close it."""
        return self._native.fileno()

    def poll(self) -> int | None:
        """Its :attr:`returncode`, if it has ended."""
        return self._ended(0.0)

    def wait(self, timeout: Duration | None = None) -> int:
        """Waits for the end of the program; its :attr:`returncode`. Raises :class:`TimeoutError`
        if it has not ended within that time; it goes on then."""
        code = self._ended(seconds(timeout))
        if code is None:
            raise TimeoutError(f"the program did not end within {timeout}")
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            told = self._native.wait(timeout)
            if told is not None:
                self.returncode = returncode(told)
        return self.returncode

    def communicate(
        self, input: Output | None = None, timeout: Duration | None = None
    ) -> tuple[Output | None, Output | None]:
        """Writes ``input`` to its standard input, reads what it prints, and waits for its end;
        what it printed to the two streams, as far as they are pipes. What processes in the
        background print after its end is not waited for.

        Raises :class:`TimeoutError` if it has not ended within that time; it goes on then, but
        what was read is lost.
        """
        from ._stream import communicate

        return communicate(self, input, seconds(timeout))

    def send_signal(self, signal: int) -> None:
        """Sends a signal to its process group; nothing if it has ended."""
        if self.poll() is None:
            self._native.send_signal(int(signal))

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(15)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(9)

    def resize(self, rows: int, columns: int) -> None:
        """Tells the program that its terminal has another size. Raises :class:`UsageError` if it
        has none."""
        self._native.resize(rows, columns)

    def close(self) -> None:
        """Kills a program that has not ended, and closes its streams."""
        self._close_streams()
        if not self._native.closed:
            try:
                self._ended(0.0)
            except Error:
                pass  # it is gone, or this is a forked child
        self._native.close()

    def _close_streams(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr, self.terminal):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # it did not read to the end

    def __enter__(self) -> Process[Output]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and not self._native.closed:
                self._close_streams()
                self.wait()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<debmock.Process {self.args!r} returncode={self.returncode}>"


def _file(descriptor: int | None, mode: str, text: bool) -> Any:
    if descriptor is None:
        return None
    return open(descriptor, mode, encoding="utf-8") if text else open(descriptor, f"{mode}b")
