"""Started long calls."""

from __future__ import annotations

import _thread

from ._event import from_native
from ._log import delivery, log
from ._typing import TYPE_CHECKING, Generic, T

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    from . import _native
    from ._event import Event
    from ._log import Delivery, OnEvent
    from ._options import Duration

from ._options import seconds


class Call(Generic[T]):
    """A long call that has not been started."""

    __slots__ = ("convert", "here", "start")

    def __init__(
        self,
        start: Callable[[_native.CancelToken | None], _native.Operation],
        convert: Callable[[Any], T],
        here: Callable[[_native.CancelToken | None, Delivery | None], Any] | None = None,
    ) -> None:
        self.start = start
        self.convert = convert
        # The same without a thread, where nobody waits for what it tells meanwhile.
        self.here = here

    def wait(self, on_event: OnEvent | None, cancel: _native.CancelToken | None) -> T:
        """Carries it out in this thread's time: events are delivered here, and whatever they or a
        signal handler raise cancels the work, waits for its end, and is raised."""
        deliver = delivery(on_event)
        told = self.here and self.here(cancel, deliver)
        return self.convert(self.start(cancel).run(deliver) if told is None else told)


class Operation(Generic[T]):
    """A long call that was started, and goes on by itself.

    Iterating gives its events as they come, until the work has ended; :meth:`result` gives what
    came of it. As a context manager it ends with its block: work that has not ended is cancelled
    and waited for. So it is when the object is deleted.

    Events that nobody reads stop nothing: progress is joined, lines of logs that have no room are
    counted, and nothing else is lost. Any number of threads may use it; each event goes to one of
    them. In a forked child every call raises :class:`ForkedError`.
    """

    __slots__ = ("__weakref__", "_call", "_lock", "_native", "_outcome")

    def __init__(self, call: Call[T], cancel: _native.CancelToken | None) -> None:
        self._call = call
        self._native = call.start(cancel)
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._lock = _thread.RLock()

    @property
    def id(self) -> int:
        """Unique in this process; its events carry it."""
        return self._native.id

    @property
    def finished(self) -> bool:
        """Whether the work has ended and every event was read."""
        return self._native.finished

    def fileno(self) -> int:
        """A descriptor that ``select`` finds readable while an event waits, and for ever once the
        work has ended. It belongs to the operation: neither read nor close it."""
        return self._native.fileno()

    def next_event(self, timeout: Duration | None = None) -> Event | None:
        """The next event, waiting for it at most that long, or for ever. ``None`` if there was
        none in that time, or if there will be none any more (:attr:`finished`)."""
        told = self._native.next_event(seconds(timeout))
        return None if told is None else log(told) or from_native(told)

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next_event()) is not None:
            yield event

    def cancel(self) -> None:
        """Asks the work to stop; does not wait for that. :meth:`result` then raises
        :class:`Cancelled` within a second, unless the work ended before."""
        self._native.cancel()

    def result(self, on_event: OnEvent | None = None) -> T:
        """Waits for the end of the work; what came of it. Events that were not read until then go
        to ``on_event`` and the loggers.

        Raises the exception of the work. If ``on_event`` or a signal handler raises, the work is
        cancelled and waited for first.
        """
        # In a forked child somebody who is nowhere may hold the lock: this raises there.
        if self._outcome is None and self._native.fileno() >= 0:
            with self._lock:
                self._take(on_event)
        assert self._outcome is not None
        result: Any
        result, raised = self._outcome
        if raised is not None:
            raise raised
        value: T = result
        return value

    def _take(self, on_event: OnEvent | None) -> None:
        """Takes the result, which the native module gives once."""
        if self._outcome is not None:
            return
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (self._call.convert(self._native.run(delivery(on_event))), None)
        except BaseException as error:
            outcome = (None, error)
        # A callback may have asked for the result, too.
        if self._outcome is None:
            self._outcome = outcome

    def __enter__(self) -> Operation[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outcome is None:
            from ._error import Error

            self.cancel()
            try:
                self.result()
            except Error:
                pass  # nobody asked for the result

    def __repr__(self) -> str:
        return f"<debmock.Operation {self.id}>"
