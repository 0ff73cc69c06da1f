"""debmock in asyncio: the same names as coroutines.

>>> import debmock, debmock.aio
>>> async def build() -> debmock.BuildResult:
...     async with debmock.aio.Buildroot("debian-bookworm") as root:
...         return await root.rebuild("hello", resultdir="out")

The event loop waits for the descriptors of operations; there is no pool of threads. Cancelling a
task cancels its work and waits for the end of that, without holding up the loop; then asyncio's own
``CancelledError`` goes on. A :class:`debmock.CancelToken` raises :class:`debmock.Cancelled`, as
everywhere.

Configs, events, results and exceptions are those of :mod:`debmock`.
"""

from __future__ import annotations

from .. import _calls
from .._typing import TYPE_CHECKING
from ._buildroot import Buildroot
from ._operation import Operation
from ._process import Process
from ._session import Session

if TYPE_CHECKING:
    from .._config import Config
    from .._log import OnEvent
    from .._native import CancelToken
    from .._options import StrPath
    from .._result import Diagnosis, KnownConfig

__all__ = ["Buildroot", "Operation", "Process", "Session", "configs", "doctor"]


async def configs() -> tuple[KnownConfig, ...]:
    """:func:`debmock.configs`."""
    return await Operation(_calls.configs(), None)


async def doctor(
    config: Config | None = None,
    *,
    helper: StrPath | None = None,
    on_event: OnEvent | None = None,
    cancel: CancelToken | None = None,
) -> Diagnosis:
    """:func:`debmock.doctor`."""
    return await Operation(_calls.doctor(config, helper), cancel).result(on_event)
