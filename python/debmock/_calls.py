"""Every long call, once: blocking methods wait for it, coroutines await it, and ``start_…`` hands
out its operation."""

from __future__ import annotations

import os

from . import _native
from ._error import UsageError
from ._options import build_options, run_options, word, words
from ._operation import Call
from ._result import BuildResult, Diagnosis, KnownConfig, Listing, Plan, Snapshot
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ._choice import Compression, ExportForm, Scrub
    from ._config import Config
    from ._log import Delivery
    from ._options import Argv, BuildOptions, RunOptions, StrPath
    from ._typing import T


def _nothing(_told: Any) -> None:
    return None


class BuildrootCalls:
    """What can be done with a buildroot."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Buildroot) -> None:
        self._native = native

    @property
    def native(self) -> _native.Buildroot:
        """The buildroot, for one call."""
        return self._native

    def init(self) -> Call[None]:
        return Call(self.native.start_init, _nothing)

    def clean(self) -> Call[None]:
        return Call(self.native.start_clean, _nothing)

    def scrub(self, what: Scrub | str | Iterable[Scrub | str]) -> Call[None]:
        parts = [what] if isinstance(what, str) else list(what)
        names = [str(word(part)) for part in parts]
        return Call(lambda cancel: self.native.start_scrub(names, cancel), _nothing)

    def export(
        self,
        file: StrPath,
        compression: Compression | str | None,
        level: int | None,
        source_date_epoch: int | None,
        form: ExportForm | str | None,
        flatten: bool,
    ) -> Call[None]:
        return Call(
            lambda cancel: self.native.start_export(
                file, word(compression), level, source_date_epoch, word(form), flatten, cancel
            ),
            _nothing,
        )

    def import_(self, file: StrPath) -> Call[None]:
        return Call(lambda cancel: self.native.start_import(file, cancel), _nothing)

    def import_layers(self, file: StrPath) -> Call[tuple[str, ...]]:
        return Call(lambda cancel: self.native.start_import_layers(file, cancel), tuple)

    def snapshot(self, name: str) -> Call[None]:
        return Call(lambda cancel: self.native.start_snapshot(name, cancel), _nothing)

    def rollback(self, name: str) -> Call[None]:
        return Call(lambda cancel: self.native.start_rollback(name, cancel), _nothing)

    def remove_snapshot(self, name: str) -> Call[None]:
        return Call(lambda cancel: self.native.start_remove_snapshot(name, cancel), _nothing)

    def list_snapshots(self) -> Call[tuple[Snapshot, ...]]:
        return Call(
            self.native.start_list_snapshots,
            lambda told: tuple(Snapshot.from_native(one) for one in told),
        )

    def list(self) -> Call[Listing]:
        return Call(self.native.start_list, Listing.from_native)

    def install(self, packages: Iterable[str]) -> Call[Plan]:
        names = words(packages)
        return Call(lambda cancel: self.native.start_install(names, cancel), Plan.from_native)

    def remove(self, packages: Iterable[str]) -> Call[Plan]:
        names = words(packages)
        return Call(lambda cancel: self.native.start_remove(names, cancel), Plan.from_native)

    def update(self) -> Call[Plan]:
        return Call(self.native.start_update, Plan.from_native)

    def apt(self, arguments: Iterable[str]) -> Call[Plan]:
        given = words(arguments)
        return Call(lambda cancel: self.native.start_apt(given, cancel), Plan.from_native)

    def installdeps(self, source: StrPath, given: BuildOptions) -> Call[Plan]:
        # Nothing is written there.
        options = build_options(source, os.curdir, given)
        return Call(lambda cancel: self.native.start_installdeps(options, cancel), Plan.from_native)

    def rebuild(
        self, source: StrPath, resultdir: StrPath, given: BuildOptions
    ) -> Call[BuildResult]:
        options = build_options(source, resultdir, given)
        return Call(
            lambda cancel: self.native.start_rebuild(options, cancel), BuildResult.from_native
        )

    def session(self, network: bool, made: Callable[[_native.Session], T]) -> Call[T]:
        return Call(lambda cancel: self.native.start_session(network, cancel), made)


class OpenCalls(BuildrootCalls):
    """What can be done with a buildroot in a session, as long as that was not closed: otherwise
    the buildroot would open another one."""

    __slots__ = ("_session",)

    def __init__(self, root: BuildrootCalls, session: _native.Session) -> None:
        super().__init__(root.native)
        self._session = session

    @property
    def native(self) -> _native.Buildroot:
        if self._session.closed:
            raise UsageError("the session was closed")
        return self._native


class SessionCalls:
    """What can be done in a session."""

    __slots__ = ("native",)

    def __init__(self, native: _native.Session) -> None:
        self.native = native

    def run(self, argv: Argv, text: bool, given: RunOptions) -> Call[Any]:
        from ._process import completed

        program, streams = run_options(argv, given)

        def start(cancel: _native.CancelToken | None) -> _native.Operation:
            return self.native.start_run(
                program,
                streams["input"],
                streams["capture_output"],
                streams["stderr"] is not None,
                streams["max_output"],
                cancel,
            )

        def here(cancel: _native.CancelToken | None, deliver: Delivery | None) -> Any:
            if deliver is not None and not streams["capture_output"]:
                # Its lines are told as they come, and a reader that sleeps does not stop it.
                return None
            return self.native.run(
                program,
                streams["input"],
                streams["capture_output"],
                streams["stderr"] is not None,
                streams["max_output"],
                cancel,
                deliver,
            )

        return Call(start, lambda told: completed(argv, told, text, streams), here)

    def copy_in(self, host: StrPath, inside: StrPath) -> Call[None]:
        path = os.fspath(inside)
        return Call(lambda cancel: self.native.start_copy_in(host, path, cancel), _nothing)

    def copy_out(self, inside: StrPath, host: StrPath) -> Call[None]:
        path = os.fspath(inside)
        return Call(lambda cancel: self.native.start_copy_out(path, host, cancel), _nothing)

    def close(self) -> Call[None]:
        return Call(lambda _cancel: self.native.start_close(), _nothing)


def configs() -> Call[tuple[KnownConfig, ...]]:
    """Which configs there are."""
    return Call(_native.start_configs, KnownConfig.from_native)


def doctor(config: Config | None, helper: StrPath | None) -> Call[Diagnosis]:
    """What this machine can do."""
    native = None if config is None else config._native
    return Call(lambda cancel: _native.start_doctor(native, helper, cancel), Diagnosis.from_native)
