"""Packages and builds in an event loop."""

from __future__ import annotations

from .._typing import TYPE_CHECKING
from ._operation import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Unpack

    from .._calls import BuildrootCalls
    from .._log import OnEvent
    from .._native import CancelToken
    from .._options import BuildOptions, StrPath
    from .._result import BuildResult, Plan


class Work:
    """What a buildroot and a session of it can both do. ``on_event`` is called in the task."""

    __slots__ = ("__weakref__", "_calls")

    def __init__(self, calls: BuildrootCalls) -> None:
        self._calls = calls

    async def install(
        self,
        packages: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """:meth:`debmock.Buildroot.install`."""
        return await self.start_install(packages, cancel=cancel).result(on_event)

    def start_install(
        self, packages: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`install`."""
        return Operation(self._calls.install(packages), cancel)

    async def remove(
        self,
        packages: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """:meth:`debmock.Buildroot.remove`."""
        return await self.start_remove(packages, cancel=cancel).result(on_event)

    def start_remove(
        self, packages: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`remove`."""
        return Operation(self._calls.remove(packages), cancel)

    async def update(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> Plan:
        """:meth:`debmock.Buildroot.update`."""
        return await self.start_update(cancel=cancel).result(on_event)

    def start_update(self, *, cancel: CancelToken | None = None) -> Operation[Plan]:
        """Starts :meth:`update`."""
        return Operation(self._calls.update(), cancel)

    async def apt(
        self,
        arguments: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """:meth:`debmock.Buildroot.apt`."""
        return await self.start_apt(arguments, cancel=cancel).result(on_event)

    def start_apt(
        self, arguments: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`apt`."""
        return Operation(self._calls.apt(arguments), cancel)

    async def installdeps(
        self,
        source: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> Plan:
        """:meth:`debmock.Buildroot.installdeps`."""
        operation = self.start_installdeps(source, cancel=cancel, **options)
        return await operation.result(on_event)

    def start_installdeps(
        self,
        source: StrPath,
        *,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> Operation[Plan]:
        """Starts :meth:`installdeps`."""
        return Operation(self._calls.installdeps(source, options), cancel)

    async def rebuild(
        self,
        source: StrPath,
        *,
        resultdir: StrPath,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> BuildResult:
        """:meth:`debmock.Buildroot.rebuild`."""
        operation = self.start_rebuild(source, resultdir=resultdir, cancel=cancel, **options)
        return await operation.result(on_event)

    def start_rebuild(
        self,
        source: StrPath,
        *,
        resultdir: StrPath,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> Operation[BuildResult]:
        """Starts :meth:`rebuild`."""
        return Operation(self._calls.rebuild(source, resultdir, options), cancel)
