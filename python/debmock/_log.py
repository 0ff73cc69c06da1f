"""Events as records of ``logging``, below the logger ``debmock``.

Nothing is done in a process that has not imported ``logging``. No handler is installed but the
one that does nothing, which keeps ``logging`` from printing what nobody has asked for.
"""

from __future__ import annotations

import sys

from ._event import (
    Event,
    LimitHit,
    LinesSkipped,
    LogLine,
    Package,
    Progress,
    StageFinished,
    StageStarted,
    Waiting,
    Warning,
    from_native,
)
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    #: What is called with each event.
    OnEvent = Callable[[Event], object]
    #: What is called with each event of the native module.
    Delivery = Callable[[Mapping[str, Any]], None]

_DEBUG, _INFO, _WARNING = 10, 20, 30

#: The logger below ``debmock`` and the level of each event; others are told as ``debmock.event``.
_RECORDS: dict[str, tuple[str, int]] = {
    "stage_started": ("stage", _INFO),
    "stage_finished": ("stage", _INFO),
    "progress": ("progress", _DEBUG),
    "package": ("package", _DEBUG),
    "log_line": ("log", _DEBUG),
    "lines_skipped": ("log", _DEBUG),
    "warning": ("warning", _WARNING),
    "waiting": ("waiting", _INFO),
    "limit_hit": ("limit", _WARNING),
}


def delivery(on_event: OnEvent | None) -> Delivery | None:
    """What to call with each event of the native module; ``None`` if nobody wants any."""
    if on_event is None and "logging" not in sys.modules:
        return None

    def deliver(told: Mapping[str, Any]) -> None:
        event = log(told)
        if on_event is not None:
            on_event(event or from_native(told))

    return deliver


def log(told: Mapping[str, Any]) -> Event | None:
    """Logs an event, if its logger wants it; the event, if it was made."""
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    name, level = _RECORDS.get(told["event"], ("event", _DEBUG))
    if name == "log":
        name = f"log.{told['log']}"
    root = logging.getLogger("debmock")
    if not root.handlers:
        root.addHandler(logging.NullHandler())
    logger = root.getChild(name)
    if not logger.isEnabledFor(level):
        return None
    event = from_native(told)
    logger.log(level, "%s", message(event), extra={"event": event})
    return event


def message(event: Event) -> str:
    """An event in words."""
    match event:
        case StageStarted():
            return f"{event.stage}: {event.detail}" if event.detail else event.stage
        case StageFinished():
            how = "done" if event.success else "failed"
            return f"{event.stage} {how} after {event.seconds:.1f} s"
        case Progress():
            total = "" if event.total is None else f" of {event.total}"
            return f"{event.stage}: {event.done}{total} {event.unit}"
        case Package():
            return f"{event.action} {event.name} {event.version} {event.architecture}"
        case LogLine():
            return event.text
        case LinesSkipped():
            return f"{event.count} lines skipped"
        case Warning():
            return event.message if event.hint is None else f"{event.message} ({event.hint})"
        case Waiting():
            return f"waiting for {event.what}, held by {event.holder}"
        case LimitHit():
            return f"the limit {event.limit} was reached"
        case _:
            return repr(event)
