"""Nothing of the host process changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("python", "ways"),
    [
        ((), ()),
        (("-X", "dev", "-W", "error"), ()),
        (("-X", "faulthandler"), ("ignore-sigchld",)),
        # Forking with threads is what is asked for here.
        (("-X", "dev", "-W", "ignore::DeprecationWarning"), ("ignore-sigchld", "forks")),
        (("-W", "ignore::DeprecationWarning"), ("forks",)),
    ],
    ids=["plain", "dev", "ignored-sigchld", "ignored-sigchld-forks", "forks"],
)
def test_a_days_work_changes_nothing(
    tiny, tmp_path: Path, python: tuple[str, ...], ways: tuple[str, ...]
) -> None:
    command = tiny.host("manners.py", tmp_path, *ways, python=python)
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr, done.returncode) == ("the same\n", "", 0)


def test_importing_is_cheap() -> None:
    heavy = "asyncio dataclasses datetime inspect logging pathlib subprocess threading typing"
    program = f"import debmock, sys; print(*(set({heavy.split()}) & set(sys.modules)))"
    # Without site, which some environments fill with modules of their own.
    command = [sys.executable, "-S", "-c", program]
    folder = str(Path(__import__("debmock").__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONPATH": folder}
    )
    assert done.stdout == "\n"
