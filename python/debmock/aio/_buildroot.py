"""Buildroots in an event loop."""

from __future__ import annotations

from .._buildroot import open_native
from .._calls import BuildrootCalls
from .._typing import TYPE_CHECKING
from ._operation import Operation
from ._session import Session
from ._work import Work

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from types import TracebackType
    from typing import Any

    from .. import _native
    from .._choice import Compression, ExportForm, Scrub
    from .._config import Config
    from .._log import OnEvent
    from .._native import CancelToken
    from .._options import StrPath
    from .._result import Listing, Snapshot


class Opening:
    """A session to be opened: ``await`` gives it, ``async with`` closes it, too."""

    __slots__ = ("_cancel", "_network", "_on_event", "_root", "_session")

    def __init__(
        self,
        root: Buildroot,
        network: bool,
        on_event: OnEvent | None,
        cancel: CancelToken | None,
    ) -> None:
        self._root = root
        self._network = network
        self._on_event = on_event
        self._cancel = cancel
        self._session: Session | None = None

    async def _open(self) -> Session:
        operation = self._root.start_session(network=self._network, cancel=self._cancel)
        return await operation.result(self._on_event)

    def __await__(self) -> Generator[Any, None, Session]:
        return self._open().__await__()

    async def __aenter__(self) -> Session:
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()


class Buildroot(Work):
    """A named, persistent, writable root: :class:`debmock.Buildroot` with coroutines.

    Making the object starts a helper process, which takes some hundredths of a second in the loop.
    """

    __slots__ = ("_config",)

    def __init__(
        self,
        config: Config | str | None = None,
        *,
        uniqueext: str | None = None,
        helper: StrPath | None = None,
        cache_dir: StrPath | None = None,
        state_dir: StrPath | None = None,
    ) -> None:
        """As :class:`debmock.Buildroot`."""
        self._config, native = open_native(config, uniqueext, helper, cache_dir, state_dir)
        super().__init__(BuildrootCalls(native))

    @property
    def config(self) -> Config:
        """Its config."""
        return self._config

    @property
    def name(self) -> str:
        """Its name: that of the config and the extension."""
        return self._calls.native.name

    def exists(self) -> bool:
        """Whether it has been made already."""
        return self._calls.native.exists()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._calls.native.closed

    def close(self) -> None:
        """Ends the helper process, unless operations or sessions still need that."""
        self._calls.native.close()

    async def __aenter__(self) -> Buildroot:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<debmock.aio.Buildroot {self.name!r}>"

    async def init(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """:meth:`debmock.Buildroot.init`."""
        await self.start_init(cancel=cancel).result(on_event)

    def start_init(self, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`init`."""
        return Operation(self._calls.init(), cancel)

    async def clean(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """:meth:`debmock.Buildroot.clean`."""
        await self.start_clean(cancel=cancel).result(on_event)

    def start_clean(self, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`clean`."""
        return Operation(self._calls.clean(), cancel)

    async def scrub(
        self,
        what: Scrub | str | Iterable[Scrub | str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """:meth:`debmock.Buildroot.scrub`."""
        await self.start_scrub(what, cancel=cancel).result(on_event)

    def start_scrub(
        self, what: Scrub | str | Iterable[Scrub | str], *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`scrub`."""
        return Operation(self._calls.scrub(what), cancel)

    async def export(
        self,
        file: StrPath,
        *,
        compression: Compression | str | None = None,
        level: int | None = None,
        source_date_epoch: int | None = None,
        form: ExportForm | str | None = None,
        flatten: bool = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """:meth:`debmock.Buildroot.export`."""
        operation = self.start_export(
            file,
            compression=compression,
            level=level,
            source_date_epoch=source_date_epoch,
            form=form,
            flatten=flatten,
            cancel=cancel,
        )
        await operation.result(on_event)

    def start_export(
        self,
        file: StrPath,
        *,
        compression: Compression | str | None = None,
        level: int | None = None,
        source_date_epoch: int | None = None,
        form: ExportForm | str | None = None,
        flatten: bool = False,
        cancel: CancelToken | None = None,
    ) -> Operation[None]:
        """Starts :meth:`export`."""
        call = self._calls.export(file, compression, level, source_date_epoch, form, flatten)
        return Operation(call, cancel)

    async def import_(
        self,
        file: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """:meth:`debmock.Buildroot.import_`."""
        await self.start_import(file, cancel=cancel).result(on_event)

    def start_import(self, file: StrPath, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`import_`."""
        return Operation(self._calls.import_(file), cancel)

    async def import_layers(
        self,
        file: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[str, ...]:
        """:meth:`debmock.Buildroot.import_layers`."""
        return await self.start_import_layers(file, cancel=cancel).result(on_event)

    def start_import_layers(
        self, file: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[tuple[str, ...]]:
        """Starts :meth:`import_layers`."""
        return Operation(self._calls.import_layers(file), cancel)

    async def snapshot(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """:meth:`debmock.Buildroot.snapshot`."""
        await self.start_snapshot(name, cancel=cancel).result(on_event)

    def start_snapshot(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`snapshot`."""
        return Operation(self._calls.snapshot(name), cancel)

    async def rollback(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """:meth:`debmock.Buildroot.rollback`."""
        await self.start_rollback(name, cancel=cancel).result(on_event)

    def start_rollback(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`rollback`."""
        return Operation(self._calls.rollback(name), cancel)

    async def remove_snapshot(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """:meth:`debmock.Buildroot.remove_snapshot`."""
        await self.start_remove_snapshot(name, cancel=cancel).result(on_event)

    def start_remove_snapshot(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`remove_snapshot`."""
        return Operation(self._calls.remove_snapshot(name), cancel)

    async def list_snapshots(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> tuple[Snapshot, ...]:
        """:meth:`debmock.Buildroot.list_snapshots`."""
        return await self.start_list_snapshots(cancel=cancel).result(on_event)

    def start_list_snapshots(
        self, *, cancel: CancelToken | None = None
    ) -> Operation[tuple[Snapshot, ...]]:
        """Starts :meth:`list_snapshots`."""
        return Operation(self._calls.list_snapshots(), cancel)

    async def list(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> Listing:
        """:meth:`debmock.Buildroot.list`."""
        return await self.start_list(cancel=cancel).result(on_event)

    def start_list(self, *, cancel: CancelToken | None = None) -> Operation[Listing]:
        """Starts :meth:`list`."""
        return Operation(self._calls.list(), cancel)

    def session(
        self,
        *,
        network: bool = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Opening:
        """:meth:`debmock.Buildroot.session`: ``await`` it, or use it with ``async with``."""
        return Opening(self, network, on_event, cancel)

    def start_session(
        self, *, network: bool = False, cancel: CancelToken | None = None
    ) -> Operation[Session]:
        """Starts :meth:`session`."""
        return Operation(self._calls.session(network, self._opened), cancel)

    def _opened(self, native: _native.Session) -> Session:
        return Session(self, native)
