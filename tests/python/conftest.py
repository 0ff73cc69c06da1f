"""What the tests share: the tiny distribution as an archive, and buildroots of it.

They need the module (installed, or ``PYTHONPATH``), ``DEBMOCK_HELPER`` unless the module brings the
helper along, and the program ``debmock-tiny``, which is looked for in ``DEBMOCK_TINY``, beside the
helper, and in ``target/release``.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import debmock

HERE = Path(__file__).parent
_numbers = itertools.count()


def program(name: str, variable: str) -> Path:
    """A program of the workspace."""
    beside = Path(os.environ.get("DEBMOCK_HELPER", "")).parent / name
    built = HERE.parent.parent / "target" / "release" / name
    for path in (Path(os.environ.get(variable, "/nonexistent")), beside, built):
        if path.is_file():
            return path
    pytest.fail(f"{name} is missing: build the workspace, or export {variable}")


class Tiny:
    """The archive, and a store for buildroots of it."""

    def __init__(self, directory: Path) -> None:
        subprocess.run([program("debmock-tiny", "DEBMOCK_TINY"), directory], check=True)
        self.directory = directory
        self.config_file = directory / "tiny.toml"
        self.cache = directory / "cache"
        self.state = directory / "state"

    @property
    def config(self) -> debmock.Config:
        return debmock.Config.from_file(self.config_file)

    @property
    def places(self) -> dict[str, Path]:
        return {"cache_dir": self.cache, "state_dir": self.state}

    def root(self, **options: object) -> debmock.Buildroot:
        """A buildroot that nobody has used."""
        ext = f"t{next(_numbers)}"
        return debmock.Buildroot(self.config, uniqueext=ext, **self.places, **options)

    def host(self, name: str, *arguments: object, python: tuple[str, ...] = ()) -> list[str]:
        """The command of a program below ``hosts``."""
        words = [HERE / "hosts" / name, self.config_file, self.cache, self.state, *arguments]
        return [sys.executable, *python, *(str(word) for word in words)]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    directory = tmp_path_factory.mktemp("tiny")
    # Another user may have to look through it.
    directory.chmod(0o755)
    return Tiny(directory)


@pytest.fixture
def root(tiny: Tiny) -> Iterator[debmock.Buildroot]:
    with tiny.root() as root:
        yield root


@pytest.fixture
def session(root: debmock.Buildroot) -> Iterator[debmock.Session]:
    with root.session() as session:
        yield session


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Waits for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"this did not happen: {what}"
        time.sleep(0.02)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Says at the end of ``tests/run`` what was left out, and why."""
    notes = os.environ.get("DEBMOCK_SKIPPED")
    if notes and report.skipped and isinstance(report.longrepr, tuple):
        with open(notes, "a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}: {report.longrepr[2].removeprefix('Skipped: ')}\n")
