"""Arguments that several calls share, and how they are passed on."""

from __future__ import annotations

import os

from ._choice import Choice
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Any, TypedDict

    from ._choice import CleanupAfter

    #: A path of the host.
    StrPath = str | os.PathLike[str]
    #: A duration: seconds, or a ``timedelta``.
    Duration = float | timedelta
    #: A program and its arguments; a string is a line for ``/bin/sh``, ``None`` a login shell.
    Argv = Sequence[str | bytes | os.PathLike[str]] | str | None

    class BuildOptions(TypedDict, total=False):
        """Options of :meth:`Buildroot.rebuild` and :meth:`Buildroot.installdeps`. What is not
        given is as the config says."""

        #: Results go to a directory of their own, SOURCE_VERSION below ``resultdir``.
        own_directory: bool
        #: Build packages for one architecture; True if not given.
        any: bool
        #: Build packages for all architectures; True if not given.
        all: bool
        #: Build the source package, too.
        source_package: bool
        #: Do not run the tests of the package: ``DEB_BUILD_OPTIONS=nocheck`` and the build
        #: profile of that name.
        nocheck: bool
        #: Build profiles, instead of those of the config.
        profiles: Iterable[str] | None
        #: Parallel jobs.
        jobs: int | None
        #: Further build dependencies, as ``Build-Depends`` has them.
        add_depends: Iterable[str]
        #: ``.deb`` files, or directories of them, that may satisfy dependencies.
        extra_packages: Iterable[StrPath]
        #: Lines of sources.list(5): further archives for this build.
        extra_repositories: Iterable[str]
        #: The distribution that the ``.changes`` names; the changelog's if not given.
        dist: str | None
        #: When the root is cleaned.
        cleanup_after: CleanupAfter | str | None
        #: Build the same source under a higher version, +bNUMBER.
        binnmu: int | None
        #: What the changelog says about that; "Rebuild." if not given.
        binnmu_message: str
        #: Who signs it, NAME <ADDRESS>; the maintainer of the source if not given.
        binnmu_maintainer: str | None
        #: Its time, seconds since 1970; one that follows from the last entry if not given.
        binnmu_timestamp: int | None

    class ProgramOptions(TypedDict, total=False):
        """How a program runs inside: options of :meth:`Session.popen` and :meth:`Session.run`."""

        #: Variables, over a minimal environment.
        env: Mapping[str, str]
        #: Without the minimal environment: nothing is set but ``env``, and ``HOME``, ``USER``,
        #: ``LOGNAME`` and ``SHELL``.
        clear_env: bool
        #: Working directory inside; ``/`` if not given.
        cwd: str | os.PathLike[str]
        #: User by name or number, as the root knows it; ``root`` if not given.
        user: str | int
        #: The host's network instead of none. Names can be looked up only in a session that was
        #: opened with ``network=True``.
        network: bool
        #: ``fsync`` and its relatives succeed without effect.
        suppress_sync: bool
        #: The 32-bit personality.
        linux32: bool

    class RunOptions(ProgramOptions, total=False):
        """Options of :meth:`Session.run`."""

        #: Raise :class:`CommandError` if the program fails.
        check: bool
        #: Keep what the program prints for the result, instead of telling it as events.
        capture_output: bool
        #: ``STDOUT``: what is kept of both streams is one, in the order in which it came.
        stderr: int | None
        #: What the program reads; nothing if not given.
        input: str | bytes | None
        #: What becomes of bytes that are no UTF-8: as ``bytes.decode`` has it; ``strict`` if not
        #: given.
        errors: str
        #: End the program after this time.
        timeout: Duration | None
        #: End the program when it printed nothing for so long.
        silence_timeout: Duration | None
        #: Fail if more bytes than this would be kept; ``None``: keep everything. 64 MiB if not
        #: given.
        max_output: int | None


#: A stream of :meth:`Session.popen` becomes a pipe. These numbers are those of ``subprocess``.
PIPE = -1
#: The error stream of a program is its output.
STDOUT = -2
#: The null device, which every stream is that nothing else was said of.
DEVNULL = -3


def seconds(duration: Duration | None) -> float | None:
    """A duration in seconds."""
    if duration is None or isinstance(duration, (int, float)):
        return duration
    return duration.total_seconds()


def words(values: Iterable[str]) -> list[str]:
    """A list of words. One string is none: that it is an iterable of letters helps nobody."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"this is a string, not a list of them: {values!r}")
    return list(values)


def word(value: str | Choice | None) -> str | None:
    """The text of an enum's member, or text itself."""
    return value.value if isinstance(value, Choice) else value


def build_options(source: StrPath, resultdir: StrPath, given: BuildOptions) -> dict[str, Any]:
    """Options of a build, as the native module takes them."""
    options: dict[str, Any] = {
        "own_directory": False,
        "any": True,
        "all": True,
        "source_package": False,
        "nocheck": False,
        "profiles": None,
        "jobs": None,
        "add_depends": (),
        "extra_packages": (),
        "extra_repositories": (),
        "dist": None,
        "cleanup_after": None,
        "binnmu": None,
        "binnmu_message": "Rebuild.",
        "binnmu_maintainer": None,
        "binnmu_timestamp": None,
    }
    _merge(options, given, "rebuild")
    profiles = options["profiles"]
    options["profiles"] = None if profiles is None else words(profiles)
    for name in ("add_depends", "extra_packages", "extra_repositories"):
        options[name] = words(options[name])
    options["cleanup_after"] = word(options["cleanup_after"])
    return options | {"source": source_text(source), "resultdir": os.fspath(resultdir)}


def source_text(source: StrPath) -> str:
    """A source as the command line has it. A path object is a path, even without a slash."""
    if isinstance(source, str):
        return source
    path = os.fspath(source)
    return path if "/" in path else os.path.join(os.curdir, path)


def program_options(argv: Argv, given: Mapping[str, Any]) -> dict[str, Any]:
    """A program, as the native module takes it."""
    options: dict[str, Any] = {
        "env": {},
        "clear_env": False,
        "cwd": "/",
        "user": "root",
        "network": False,
        "suppress_sync": False,
        "linux32": False,
    }
    _merge(options, given, "popen")
    if isinstance(argv, str):
        argv = ["/bin/sh", "-c", argv]
    return options | {
        "argv": None if argv is None else [os.fsencode(part) for part in argv],
        "env": list(dict(options["env"]).items()),
        "cwd": os.fspath(options["cwd"]),
        "user": str(options["user"]),
        "timeout": None,
        "silence_timeout": None,
    }


def run_options(argv: Argv, given: RunOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """A program, and what is to become of its streams."""
    rest: dict[str, Any] = dict(given)
    streams: dict[str, Any] = {
        "check": False,
        "capture_output": False,
        "stderr": None,
        "input": None,
        "errors": "strict",
        "timeout": None,
        "silence_timeout": None,
        "max_output": 64 << 20,
    }
    _merge(streams, {name: rest.pop(name) for name in streams if name in rest}, "run")
    program = program_options(argv, rest)
    for name in ("timeout", "silence_timeout"):
        program[name] = seconds(streams[name])
    if streams["stderr"] not in (None, STDOUT):
        raise ValueError("stderr of run() is STDOUT, or nothing")
    if isinstance(streams["input"], str):
        streams["input"] = streams["input"].encode()
    return program, streams


def _merge(options: dict[str, Any], given: Mapping[str, Any], call: str) -> None:
    for name in given:
        if name not in options:
            raise TypeError(f"{call}() has no argument {name!r}")
    options.update(given)
