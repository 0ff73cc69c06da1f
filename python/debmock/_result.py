"""Results of long calls."""

from __future__ import annotations

from ._choice import Status
from ._record import Record
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


class Stage(Record):
    """A stage of a build that ended, or all of one name together."""

    __slots__ = ("name", "seconds", "success")

    #: Its name: ``source``, ``resolve``, ``fetch``, ``apply``, ``unpack``, ``build``, …
    name: str
    #: How long it took.
    seconds: float
    #: Whether it succeeded.
    success: bool


class File(Record):
    """A file of a build, by path and content."""

    __slots__ = ("path", "size", "sha256")

    #: Where it is; of an input, its name alone.
    path: Path
    #: Its size in bytes.
    size: int
    #: Its SHA-256, in hexadecimal digits.
    sha256: str


class Planned(Record):
    """A package that came to a root, as the signed index describes it."""

    __slots__ = ("name", "version", "architecture", "size", "sha256", "uri")

    name: str
    version: str
    #: Architecture, or ``all``.
    architecture: str
    #: Size of the ``.deb`` in bytes.
    size: int
    #: SHA-256 of the ``.deb``, in hexadecimal digits.
    sha256: str
    #: Where it is.
    uri: str


class Removal(Record):
    """A package that went from a root."""

    __slots__ = ("name", "version", "purge")

    #: Name, with its architecture if that is not the root's.
    name: str
    #: The version that was installed.
    version: str
    #: Whether its configuration files went, too.
    purge: bool


class Installed(Record):
    """A package that was installed while something was built."""

    __slots__ = ("name", "version", "architecture")

    name: str
    version: str
    architecture: str


def _pick(cls: type[Record], told: Mapping[str, Any]) -> Any:
    return cls(**{name: told[name] for name in cls._fields})


class Plan(Record):
    """Packages that came and went."""

    __slots__ = ("installed", "removed")

    #: What was installed, upgraded or downgraded, by name.
    installed: tuple[Planned, ...]
    #: What was removed, by name.
    removed: tuple[Removal, ...]

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Plan:
        """The plan of a dictionary of the native module."""
        return cls(
            installed=tuple(_pick(Planned, entry) for entry in told["installed"]),
            removed=tuple(_pick(Removal, entry) for entry in told["removed"]),
        )


class BuildResult(Record):
    """What came of a build: what ``result.json`` tells, with paths instead of names."""

    __slots__ = (
        "status",
        "failed_stage",
        "error",
        "exit_code",
        "signal",
        "name",
        "version",
        "architecture",
        "suite",
        "profiles",
        "build_options",
        "started",
        "seconds",
        "history",
        "processor_seconds",
        "peak_memory_kib",
        "disk_kib",
        "inputs",
        "dependencies",
        "removed",
        "installed",
        "outputs",
        "changes",
        "buildinfo",
        "logs",
        "resultdir",
        "data",
    )

    #: How it ended.
    status: Status
    #: The stage that failed.
    failed_stage: str | None
    #: Why it failed, on one line.
    error: str | None
    #: Exit status of ``dpkg-buildpackage``; ``None`` if it was not run or a signal ended it.
    exit_code: int | None
    #: The signal that ended ``dpkg-buildpackage``.
    signal: int | None
    #: Source package; empty as long as it is unknown.
    name: str
    #: Version of the packages; empty as long as it is unknown.
    version: str
    #: Architecture that was built on and for.
    architecture: str
    #: Suite of the root.
    suite: str
    #: Build profiles.
    profiles: tuple[str, ...]
    #: Value of ``DEB_BUILD_OPTIONS``.
    build_options: str
    #: When it began, seconds since 1970.
    started: float
    #: How long it took, seconds.
    seconds: float
    #: The stages that ended, in the order of their ends. A name may be there more than once.
    history: tuple[Stage, ...]
    #: Processor time of the build itself, seconds.
    processor_seconds: float
    #: Peak memory of the largest process of the build, KiB.
    peak_memory_kib: int
    #: What the build directory needed on disk at the end, KiB.
    disk_kib: int
    #: Files of the source package.
    inputs: tuple[File, ...]
    #: Packages that were installed for this build.
    dependencies: tuple[Planned, ...]
    #: Packages that were removed for this build.
    removed: tuple[Removal, ...]
    #: Everything that was installed while it was built.
    installed: tuple[Installed, ...]
    #: Files of the result, the ``.changes`` among them.
    outputs: tuple[File, ...]
    #: The ``.changes`` file.
    changes: Path | None
    #: The ``.buildinfo`` file.
    buildinfo: Path | None
    #: The logs.
    logs: tuple[Path, ...]
    #: The directory that all files of the result are in.
    resultdir: Path
    #: All of ``result.json``, whose members are only ever added to.
    data: Mapping[str, Any]

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> BuildResult:
        """The result of a dictionary of the native module."""
        from pathlib import Path

        resultdir = Path(told["resultdir"])

        def path(name: str | None) -> Path | None:
            return None if name is None else resultdir / name

        def files(name: str, folder: Path) -> tuple[File, ...]:
            return tuple(
                File(path=folder / file["name"], size=file["size"], sha256=file["sha256"])
                for file in told[name]
            )

        values: dict[str, Any] = {name: told[name] for name in cls._fields if name in told}
        error = told["error"]
        values |= {
            "status": Status(told["status"]),
            "error": None if error is None else error["message"],
            "profiles": tuple(told["profiles"]),
            "history": tuple(_pick(Stage, stage) for stage in told["stages"]),
            "inputs": files("inputs", Path()),
            "dependencies": tuple(_pick(Planned, entry) for entry in told["dependencies"]),
            "removed": tuple(_pick(Removal, entry) for entry in told["removed"]),
            "installed": tuple(_pick(Installed, entry) for entry in told["installed"]),
            "outputs": files("outputs", resultdir),
            "changes": path(told["changes"]),
            "buildinfo": path(told["buildinfo"]),
            "logs": tuple(resultdir / name for name in told["logs"]),
            "resultdir": resultdir,
            "data": {name: value for name, value in told.items() if name != "resultdir"},
        }
        return cls(**values)

    @property
    def packages(self) -> tuple[Path, ...]:
        """The binary packages that were built."""
        endings = (".deb", ".udeb", ".ddeb")
        return tuple(file.path for file in self.outputs if file.path.name.endswith(endings))

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages by name, in the order in which each ended first; those of one name are added
        up, and succeeded if all did."""
        stages: dict[str, Stage] = {}
        for stage in self.history:
            before = stages.get(stage.name)
            if before is not None:
                stage = Stage(
                    name=stage.name,
                    seconds=before.seconds + stage.seconds,
                    success=before.success and stage.success,
                )
            stages[stage.name] = stage
        return stages

    def log(self, name: str = "build.log") -> Path:
        """The path of a log: ``build.log``, ``root.log``, ``state.log`` or
        ``installed_pkgs.log``. Raises ``KeyError`` if the build got not that far."""
        for path in self.logs:
            if path.name == name:
                return path
        raise KeyError(name)

    def __hash__(self) -> int:
        return hash((self.resultdir, self.started))


class ListedBuildroot(Record):
    """A buildroot of a :class:`Listing`."""

    __slots__ = ("name", "base", "bytes")

    name: str
    #: What it stands on: its members are those of ``debmock list --json``; ``None`` if its record
    #: is missing or damaged.
    base: Mapping[str, Any] | None
    #: Bytes on disk, without its base.
    bytes: int


class ListedLayer(Record):
    """A layer of a :class:`Listing`."""

    __slots__ = ("key", "bytes", "used_by")

    key: str
    #: Bytes on disk.
    bytes: int
    #: Names of the buildroots that stand on it.
    used_by: tuple[str, ...]


class Listing(Record):
    """What lies in a store."""

    __slots__ = ("buildroots", "layers", "debs", "lists")

    #: Buildroots, by name.
    buildroots: tuple[ListedBuildroot, ...]
    #: Layers, by key.
    layers: tuple[ListedLayer, ...]
    #: Bytes on disk of packages and sources.
    debs: int
    #: Bytes on disk of downloaded indexes.
    lists: int

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Listing:
        """The listing of a dictionary of the native module."""
        return cls(
            buildroots=tuple(_pick(ListedBuildroot, entry) for entry in told["buildroots"]),
            layers=tuple(
                ListedLayer(key=entry["key"], bytes=entry["bytes"], used_by=tuple(entry["used_by"]))
                for entry in told["layers"]
            ),
            debs=told["debs"],
            lists=told["lists"],
        )


class Snapshot(Record):
    """A snapshot of a buildroot."""

    __slots__ = ("name", "created")

    #: Its name, unique in its buildroot.
    name: str
    #: When it was made, in seconds since 1970.
    created: float

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Snapshot:
        """The snapshot of a dictionary of the native module."""
        return cls(name=told["name"], created=told["created"])


class KnownConfig(Record):
    """A config that :meth:`Config.load` knows by its name."""

    __slots__ = ("name", "places", "extends")

    name: str
    #: Where it is described, for people.
    places: str
    #: The config that it extends, where it says so itself.
    extends: str | None

    @classmethod
    def from_native(cls, told: list[Mapping[str, Any]]) -> tuple[KnownConfig, ...]:
        """The configs of dictionaries of the native module."""
        return tuple(_pick(KnownConfig, entry) for entry in told)


class Mode(Record):
    """Whether an isolation mode works on this machine for this user."""

    __slots__ = ("mode", "works", "reason", "hint", "notes")

    #: Its name in a config: ``userns`` or ``simple``.
    mode: str
    works: bool
    #: Why it does not work.
    reason: str | None
    #: What to do about that.
    hint: str | None
    #: What else there is to know.
    notes: tuple[str, ...]


class Diagnosis(Record):
    """What this machine can do."""

    __slots__ = ("usable", "helper", "modes", "notes")

    #: Whether any mode works.
    usable: bool
    #: The helper that was found.
    helper: Path | None
    #: The modes, the best first.
    modes: tuple[Mode, ...]
    #: What the machine has or lacks beside them.
    notes: tuple[str, ...]

    @classmethod
    def from_native(cls, told: Mapping[str, Any]) -> Diagnosis:
        """The diagnosis of a dictionary of the native module."""
        from pathlib import Path

        helper = told["helper"]
        return cls(
            usable=told["usable"],
            helper=None if helper is None else Path(helper),
            modes=tuple(
                _pick(Mode, {**mode, "notes": tuple(mode["notes"])}) for mode in told["modes"]
            ),
            notes=tuple(told["notes"]),
        )
