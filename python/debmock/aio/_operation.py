"""Started long calls in an event loop."""

from __future__ import annotations

import asyncio

from .._error import Error
from .._event import from_native
from .._log import delivery, log
from .._typing import TYPE_CHECKING, Generic, T

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from types import TracebackType
    from typing import Any

    from .._event import Event
    from .._log import OnEvent
    from .._native import CancelToken
    from .._operation import Call

#: Events that are delivered before others of the loop get their turn.
_AT_ONCE = 100


class Readable:
    """Waits until a descriptor is readable; any number of tasks of one loop may."""

    __slots__ = ("_descriptor", "_waiters")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        if not self._waiters:
            loop.add_reader(self._descriptor, self._wake, loop)
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                if not self._waiters:
                    loop.remove_reader(self._descriptor)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._descriptor)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Operation(Generic[T]):
    """A long call that was started, and goes on by itself.

    Awaiting it gives what came of it; ``async for`` gives its events as they come, until the work
    has ended. With ``async with`` it ends with its block: work that has not ended is cancelled and
    waited for. Use it in one event loop; its tasks may share it, and each event goes to one of
    them.
    """

    __slots__ = ("__weakref__", "_call", "_native", "_outcome", "_readable")

    def __init__(self, call: Call[T], cancel: CancelToken | None) -> None:
        self._call = call
        self._native = call.start(cancel)
        self._readable = Readable(self._native.fileno())
        self._outcome: tuple[Any, BaseException | None] | None = None

    @property
    def id(self) -> int:
        """Unique in this process; its events carry it."""
        return self._native.id

    @property
    def finished(self) -> bool:
        """Whether the work has ended and every event was read."""
        return self._native.finished

    def cancel(self) -> None:
        """Asks the work to stop; does not wait for that. Awaiting the operation then raises
        :class:`debmock.Cancelled` within a second, unless the work ended before."""
        self._native.cancel()

    async def next_event(self) -> Event | None:
        """The next event; ``None`` if there will be none any more. If the task is cancelled, the
        work goes on."""
        while True:
            told = self._native.next_event(0)
            if told is not None:
                return log(told) or from_native(told)
            if self._native.finished:
                return None
            await self._readable.wait()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self.next_event()) is not None:
            yield event

    async def result(self, on_event: OnEvent | None = None) -> T:
        """Waits for the end of the work; what came of it. Events that were not read until then go
        to ``on_event`` and the loggers.

        Raises the exception of the work. If the task is cancelled, or if ``on_event`` raises, the
        work is cancelled and waited for first.
        """
        if self._outcome is None:
            await self._follow(on_event)
        # Whoever else waited may have been the first to take the result.
        if self._outcome is None:
            try:
                self._outcome = (self._call.convert(self._native.wait()), None)
            except BaseException as error:
                self._outcome = (None, error)
        result: Any
        result, raised = self._outcome
        if raised is not None:
            raise raised
        value: T = result
        return value

    def __await__(self) -> Generator[Any, None, T]:
        return self.result().__await__()

    async def _follow(self, on_event: OnEvent | None) -> None:
        deliver = delivery(on_event)
        try:
            while not self._native.finished:
                for _ in range(_AT_ONCE):
                    told = self._native.next_event(0)
                    if told is None:
                        break
                    if deliver is not None:
                        deliver(told)
                else:
                    await asyncio.sleep(0)
                    continue
                if not self._native.finished:
                    await self._readable.wait()
        except GeneratorExit:
            # The loop is gone: the operation ends with its object.
            self._native.cancel()
            raise
        except BaseException as error:
            if await self._stop() and not isinstance(error, asyncio.CancelledError):
                raise asyncio.CancelledError from error
            raise

    async def _stop(self) -> bool:
        """Cancels the work and waits for its end; whether the task was cancelled meanwhile."""
        cancelled = False
        self._native.cancel()
        while not self._native.finished:
            if self._native.next_event(0) is None and not self._native.finished:
                try:
                    await self._readable.wait()
                except asyncio.CancelledError:
                    cancelled = True
        return cancelled

    async def __aenter__(self) -> Operation[T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outcome is not None:
            return
        if await self._stop():
            raise asyncio.CancelledError
        try:
            await self.result()
        except Error:
            pass  # nobody asked for the result

    def __repr__(self) -> str:
        return f"<debmock.aio.Operation {self.id}>"
