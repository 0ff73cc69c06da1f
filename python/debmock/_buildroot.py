"""Buildroots, and what they and sessions have in common."""

from __future__ import annotations


from . import _native
from ._calls import BuildrootCalls
from ._config import Config
from ._operation import Operation
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Unpack

    from ._choice import Compression, ExportForm, Scrub
    from ._log import OnEvent
    from ._native import CancelToken
    from ._options import BuildOptions, StrPath
    from ._result import BuildResult, Listing, Plan, Snapshot
    from ._session import Session


class Work:
    """Packages and builds: what a buildroot and a session of it can both do.

    Every method takes ``on_event``, which is called with each :class:`Event` in the calling
    thread, and ``cancel``, a :class:`CancelToken` that stops it. Other threads run meanwhile. If
    ``on_event`` or a signal handler raises (KeyboardInterrupt), the work is cancelled and waited
    for, at most about a second, and the buildroot stays usable. ``start_…`` starts the same and
    gives its :class:`Operation` at once.
    """

    __slots__ = ("__weakref__", "_calls")

    def __init__(self, calls: BuildrootCalls) -> None:
        self._calls = calls

    def install(
        self,
        packages: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """Installs packages, each as apt takes them: NAME, NAME=VERSION, NAME/SUITE,
        NAME:ARCHITECTURE (apt-get(8)). What came and went.

        Raises :class:`DependencyError` if they cannot be installed together,
        :class:`PackageError` if apt or dpkg fails, and what opening a session raises.
        """
        return self._calls.install(packages).wait(on_event, cancel)

    def start_install(
        self, packages: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`install`."""
        return Operation(self._calls.install(packages), cancel)

    def remove(
        self,
        packages: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """Removes packages with their configuration files. What came and went.

        Raises as :meth:`install`.
        """
        return self._calls.remove(packages).wait(on_event, cancel)

    def start_remove(
        self, packages: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`remove`."""
        return Operation(self._calls.remove(packages), cancel)

    def update(self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None) -> Plan:
        """Brings every package to the version that the archive offers now. What came and went.

        Raises as :meth:`install`.
        """
        return self._calls.update().wait(on_event, cancel)

    def start_update(self, *, cancel: CancelToken | None = None) -> Operation[Plan]:
        """Starts :meth:`update`."""
        return Operation(self._calls.update(), cancel)

    def apt(
        self,
        arguments: Iterable[str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Plan:
        """Runs apt-get(8) with these arguments. Packages that it wants are fetched by this
        process; inside it has no network. What it prints comes as :class:`LogLine` of
        :attr:`Log.ROOT`. What came and went.

        Raises as :meth:`install`.
        """
        return self._calls.apt(arguments).wait(on_event, cancel)

    def start_apt(
        self, arguments: Iterable[str], *, cancel: CancelToken | None = None
    ) -> Operation[Plan]:
        """Starts :meth:`apt`."""
        return Operation(self._calls.apt(arguments), cancel)

    def installdeps(
        self,
        source: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> Plan:
        """Installs what :meth:`rebuild` with these arguments needs. What came and went.

        Raises as :meth:`install`, and :class:`SourceError`.
        """
        return self._calls.installdeps(source, options).wait(on_event, cancel)

    def start_installdeps(
        self,
        source: StrPath,
        *,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> Operation[Plan]:
        """Starts :meth:`installdeps`."""
        return Operation(self._calls.installdeps(source, options), cancel)

    def rebuild(
        self,
        source: StrPath,
        *,
        resultdir: StrPath,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> BuildResult:
        """Builds a source package: NAME or NAME=VERSION of the archive, a path or URI of a
        ``.dsc``, or a directory with ``debian/`` in it (``./NAME``, or any ``pathlib.Path``).

        Unless a session is open already, the root begins without changes, and they are dropped
        again afterwards, or kept, as the config says. Packages, logs and ``result.json`` go to
        ``resultdir``, which is made if it does not exist; with ``own_directory`` to a directory
        SOURCE_VERSION below it.

        What is not given is as the config says:

        - ``any``, ``all``: build packages for one architecture, for all; both if not given.
        - ``source_package``: build the source package, too.
        - ``nocheck``: do not run the tests of the package.
        - ``profiles``: build profiles, instead of those of the config.
        - ``jobs``: parallel jobs.
        - ``add_depends``: further build dependencies, as ``Build-Depends`` has them.
        - ``extra_packages``: ``.deb`` files, or directories of them, for dependencies.
        - ``extra_repositories``: lines of sources.list(5), further archives for this build.
        - ``dist``: the distribution that the ``.changes`` names.
        - ``cleanup_after``: when the root is cleaned, a :class:`CleanupAfter`.
        - ``binnmu``: build under a higher version, +bNUMBER; with it ``binnmu_message``,
          ``binnmu_maintainer`` (NAME <ADDRESS>) and ``binnmu_timestamp`` (seconds since 1970).

        Raises :class:`SourceError`, :class:`DependencyError`, :class:`BuildError` if the package
        does not build, :class:`TimeoutError` after a limit of the config,
        :class:`ResultDirError`, and what opening a session raises. The ``result`` of each tells
        how far it got and where its logs are.
        """
        return self._calls.rebuild(source, resultdir, options).wait(on_event, cancel)

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


def open_native(
    config: Config | str | None,
    uniqueext: str | None,
    helper: StrPath | None,
    cache_dir: StrPath | None,
    state_dir: StrPath | None,
) -> tuple[Config, _native.Buildroot]:
    """The buildroot of a config, which may be just named."""
    if config is None:
        config = Config.default()
    elif isinstance(config, str):
        config = Config.load(config)
    return config, _native.Buildroot(config._native, uniqueext, helper, cache_dir, state_dir)


class Buildroot(Work):
    """A named, persistent, writable root, whether it has been made already or not.

    Any number of threads may use it, and any number of buildroots may be used at once. It holds a
    helper process, which ends with :meth:`close`, with the block of a ``with``, or with the object;
    what is on disk stays. In a forked child every call raises :class:`ForkedError`.
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
        """The buildroot of a config, or of a config's name; of the default config without one.

        ``uniqueext`` tells several buildroots of one config apart. ``helper`` is the program
        debmock-helper, which is found by itself; ``cache_dir`` is where to keep what can be made
        again, ``state_dir`` where to keep buildroots, instead of the user's own places.

        Raises :class:`IsolationError` if this machine or user cannot have the isolation mode
        (:func:`doctor` tells more), :class:`HelperError` if there is no helper,
        :class:`UsageError` for names that cannot be, and what :meth:`Config.load` raises.
        """
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
        """Ends the helper process, unless operations or sessions still need that. Calls after it
        raise :class:`UsageError`."""
        self._calls.native.close()

    def __enter__(self) -> Buildroot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<debmock.Buildroot {self.name!r}>"

    def init(self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None) -> None:
        """Makes the buildroot unless it exists: resolves and makes its base layer. Waits for other
        processes that use it, as long as the config says.

        Raises :class:`ArchiveError`, :class:`SignatureError`, :class:`DependencyError`,
        :class:`BootstrapError`, :class:`LockedError`, :class:`NoSpaceError`.
        """
        self._calls.init().wait(on_event, cancel)

    def start_init(self, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`init`."""
        return Operation(self._calls.init(), cancel)

    def clean(self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None) -> None:
        """Removes what was changed since the base, which is chosen anew at the next use unless it
        was imported.

        Raises :class:`BusyError` while a session of this buildroot is open.
        """
        self._calls.clean().wait(on_event, cancel)

    def start_clean(self, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`clean`."""
        return Operation(self._calls.clean(), cancel)

    def scrub(
        self,
        what: Scrub | str | Iterable[Scrub | str],
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Removes parts of the store, one :class:`Scrub` or several. Layers that a buildroot stands
        on stay.

        Raises :class:`BusyError` while a session of this buildroot is open.
        """
        self._calls.scrub(what).wait(on_event, cancel)

    def start_scrub(
        self, what: Scrub | str | Iterable[Scrub | str], *, cancel: CancelToken | None = None
    ) -> Operation[None]:
        """Starts :meth:`scrub`."""
        return Operation(self._calls.scrub(what), cancel)

    def export(
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
        """Writes the root to a tar archive, an OCI image or a directory, which appears complete or
        not at all. The same root gives the same bytes.

        Without a :class:`ExportForm` and a :class:`Compression` the ending of the name says which:
        ``.tar``, ``.tar.gz`` and ``.tar.zst`` are archives, ``.oci`` and ``.oci.tar`` images, and
        what ends in a slash is a directory. ``level`` is that of zstd, from 1 to 22, or of gzip,
        from 1 to 9. An image has a layer for each layer of the buildroot, or one with ``flatten``.
        In a directory everything belongs to the caller, unless that is root. Later modification times become
        ``source_date_epoch`` (seconds since 1970), or SOURCE_DATE_EPOCH of the environment; with
        neither, times stay.

        Raises :class:`BusyError` while a session of this buildroot is open, :class:`UsageError`
        for an ending that does not say what is meant, and for a directory that exists.
        """
        call = self._calls.export(file, compression, level, source_date_epoch, form, flatten)
        call.wait(on_event, cancel)

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

    def import_(
        self,
        file: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        """Makes the base of the buildroot of a tar archive (plain, or packed with gzip, xz or
        zstd), an OCI image layout (a directory or a tar archive of it) or a directory with a root
        in it, and drops its changes.

        Raises :class:`BusyError` while a session of this buildroot is open,
        :class:`BuildrootError` for an archive or image that is damaged, is for another
        architecture or tries to leave the root.
        """
        self._calls.import_(file).wait(on_event, cancel)

    def start_import(self, file: StrPath, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`import_`."""
        return Operation(self._calls.import_(file), cancel)

    def import_layers(
        self,
        file: StrPath,
        *,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> tuple[str, ...]:
        """Takes the layers of an image that debmock exported into the store, under the keys that it
        says they have: whatever stands on such a layer finds it made. Layers that are there already
        stay, and so does the buildroot. Gives the keys.

        A key says what went into a layer, but nothing proves that of a layer that somebody else
        made: whoever gives layers away decides what is in the roots that stand on them.

        Raises as :meth:`import_`, and :class:`BuildrootError` for an image without such layers.
        """
        return self._calls.import_layers(file).wait(on_event, cancel)

    def start_import_layers(
        self, file: StrPath, *, cancel: CancelToken | None = None
    ) -> Operation[tuple[str, ...]]:
        """Starts :meth:`import_layers`."""
        return Operation(self._calls.import_layers(file), cancel)

    def snapshot(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """Keeps the root as it is now under a name, at once whatever it holds. Makes the buildroot if
        it does not exist.

        Raises :class:`BusyError` while a session of this buildroot is open, :class:`UsageError` for
        a name that is taken or cannot be one.
        """
        self._calls.snapshot(name).wait(on_event, cancel)

    def start_snapshot(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`snapshot`."""
        return Operation(self._calls.snapshot(name), cancel)

    def rollback(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """Brings the root back to what it was when the snapshot was taken; what was changed since then
        is dropped, unless another snapshot has it.

        Raises :class:`BusyError` while a session of this buildroot is open, :class:`UsageError` if
        there is no such snapshot, :class:`BuildrootError` if a machine that went down may have
        damaged it.
        """
        self._calls.rollback(name).wait(on_event, cancel)

    def start_rollback(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`rollback`."""
        return Operation(self._calls.rollback(name), cancel)

    def remove_snapshot(
        self, name: str, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> None:
        """Removes a snapshot. What the root or another snapshot stands on stays.

        Raises as :meth:`rollback`.
        """
        self._calls.remove_snapshot(name).wait(on_event, cancel)

    def start_remove_snapshot(self, name: str, *, cancel: CancelToken | None = None) -> Operation[None]:
        """Starts :meth:`remove_snapshot`."""
        return Operation(self._calls.remove_snapshot(name), cancel)

    def list_snapshots(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> tuple[Snapshot, ...]:
        """The snapshots, oldest first. Takes no lock."""
        return self._calls.list_snapshots().wait(on_event, cancel)

    def start_list_snapshots(
        self, *, cancel: CancelToken | None = None
    ) -> Operation[tuple[Snapshot, ...]]:
        """Starts :meth:`list_snapshots`."""
        return Operation(self._calls.list_snapshots(), cancel)

    def list(
        self, *, on_event: OnEvent | None = None, cancel: CancelToken | None = None
    ) -> Listing:
        """What lies in the store that the buildroot belongs to: buildroots, layers and downloads
        with their bytes on disk. Takes no lock."""
        return self._calls.list().wait(on_event, cancel)

    def start_list(self, *, cancel: CancelToken | None = None) -> Operation[Listing]:
        """Starts :meth:`list`."""
        return Operation(self._calls.list(), cancel)

    def session(
        self,
        *,
        network: bool = False,
        on_event: OnEvent | None = None,
        cancel: CancelToken | None = None,
    ) -> Session:
        """Opens the buildroot, which is made if it does not exist: the session that it has open
        already, or a new one. Waits for other processes that use it, as long as the config says.
        Use it in a ``with``, or close it.

        With ``network`` the session sees the host's resolver configuration, so that programs can
        be given the network.

        Raises :class:`LockedError` when the time to wait has run out, :class:`BusyError` if the
        session that is open lacks the network, and as :meth:`init`.
        """
        return self._calls.session(network, self._opened).wait(on_event, cancel)

    def start_session(
        self, *, network: bool = False, cancel: CancelToken | None = None
    ) -> Operation[Session]:
        """Starts :meth:`session`."""
        return Operation(self._calls.session(network, self._opened), cancel)

    def _opened(self, native: _native.Session) -> Session:
        from ._session import Session

        return Session(self, native)
