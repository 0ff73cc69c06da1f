"""Writing to and reading from a program at the same time."""

from __future__ import annotations

import io
import os
import select
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
    deadline = None if timeout is None else time.monotonic() + timeout
    given = memoryview(input.encode() if isinstance(input, str) else input or b"")
    streams: list[IO[Any] | None] = [process.stdout, process.stderr]
    read: dict[int, tuple[IO[Any], bytearray]] = {
        stream.fileno(): (stream, bytearray())
        for stream in streams
        if stream is not None and not stream.closed
    }
    found = {id(stream): data for stream, data in read.values()}
    for descriptor in read:
        os.set_blocking(descriptor, False)
    write = process.stdin if process.stdin is not None and not process.stdin.closed else None
    if write is not None:
        write.flush()
        if given:
            os.set_blocking(write.fileno(), False)
        else:
            _close(write)
            write = None
    poll = select.poll()
    for descriptor in read:
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
            elif descriptor in read and _read(descriptor, read[descriptor][1]) == 0:
                poll.unregister(descriptor)
                del read[descriptor]
    for descriptor, (_, data) in read.items():
        while _read(descriptor, data):
            pass
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
