"""Writing to and reading from a program at the same time."""

from __future__ import annotations

import fcntl
import io
import os
import select
import sys
import termios
import time

from ._error import TimeoutError
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO, Any

    from ._process import Process
    from ._typing import Output

#: Bytes that are written or read at once.
_PIECE = 65536


def communicate(
    process: Process[Output], input: Output | None, timeout: float | None
) -> tuple[Output | None, Output | None]:
    """See :meth:`Process.communicate`."""
    given = memoryview(input.encode() if isinstance(input, str) else input or b"")
    streams: list[IO[Any] | None] = [process.stdout, process.stderr]
    read: dict[int, tuple[IO[Any], bytearray]] = {
        stream.fileno(): (stream, bytearray())
        for stream in streams
        if stream is not None and not stream.closed
    }
    found = {id(stream): data for stream, data in read.values()}
    write = process.stdin if process.stdin is not None and not process.stdin.closed else None
    if write is not None:
        write.flush()
        if not given:
            _close(write)
            write = None
    for descriptor in read if write is None else (*read, write.fileno()):
        os.set_blocking(descriptor, False)
    try:
        _exchange(process, write, given, read, timeout)
        for descriptor, (_, data) in read.items():
            _drain(descriptor, data)
    finally:
        # Whoever goes on with the streams after a timeout finds them as they were.
        for stream in (*(stream for stream, _ in read.values()), write):
            if stream is not None and not stream.closed:
                os.set_blocking(stream.fileno(), True)
    if write is not None:
        _close(write)
    output, errors = (
        None if stream is None else _convert(stream, found.get(id(stream), bytearray()))
        for stream in streams
    )
    for stream in streams:
        if stream is not None:
            stream.close()
    return output, errors


def _exchange(
    process: Process[Output],
    write: IO[Any] | None,
    given: memoryview,
    read: dict[int, tuple[IO[Any], bytearray]],
    timeout: float | None,
) -> None:
    """Writes and reads until the program has ended. Streams that end before are left out of what
    is waited for."""
    deadline = None if timeout is None else time.monotonic() + timeout
    unfinished = dict(read)
    poll = select.poll()
    for descriptor in unfinished:
        poll.register(descriptor, select.POLLIN)
    if write is not None:
        poll.register(write.fileno(), select.POLLOUT)
    # Its descriptor is not waited for once it has said that the program ended.
    if process.poll() is None:
        poll.register(process.fileno(), select.POLLIN)
    while process.poll() is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"the program did not end within {timeout} s")
        for descriptor, _ in poll.poll(None if left is None else left * 1000):
            if write is not None and descriptor == write.fileno():
                given = _write(descriptor, given)
                if not given:
                    poll.unregister(descriptor)
                    _close(write)
                    write = None
            elif descriptor in unfinished and _read(descriptor, unfinished[descriptor][1]) == 0:
                poll.unregister(descriptor)
                del unfinished[descriptor]


def _drain(descriptor: int, data: bytearray) -> None:
    """Reads what is there now: a program in the background that goes on printing holds nobody."""
    left = unread(descriptor)
    while left > 0:
        count = _read(descriptor, data)
        if not count:
            break
        left -= count


def unread(descriptor: int) -> int:
    """How many bytes a pipe holds."""
    count = bytearray(4)
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def _read(descriptor: int, data: bytearray) -> int | None:
    """Reads once; how many bytes, 0 at the end, ``None`` if there is nothing now."""
    try:
        piece = os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None
    data += piece
    return len(piece)


def _write(descriptor: int, given: memoryview) -> memoryview:
    """Writes once; what is left. A program that does not read on has read enough."""
    try:
        return given[os.write(descriptor, given[:_PIECE]) :]
    except BlockingIOError:
        return given
    except BrokenPipeError:
        return given[:0]


def _convert(stream: IO[Any], data: bytearray) -> Any:
    if isinstance(stream, io.TextIOBase):
        return data.decode("utf-8", "replace")
    return bytes(data)


def _close(stream: IO[Any]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        pass
