"""The command of the wheel: the same as the program, in the process of the interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import debmock
import pytest

COMMANDS = {
    "script": [str(Path(sys.executable).with_name("debmock"))],
    "module": [sys.executable, "-m", "debmock"],
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> list[str]:
    return COMMANDS[request.param]


def run(words: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options
    )


def test_says_its_version(command: list[str]) -> None:
    done = run([*command, "--version"])
    assert done.returncode == 0
    assert done.stdout == f"debmock {debmock.__version__}\n"


def test_exit_status_of_wrong_usage(command: list[str]) -> None:
    done = run([*command, "no-such-command"])
    assert done.returncode == 5
    assert done.stdout == "" and "no-such-command" in done.stderr


def test_finds_the_helper_of_its_own_package(command: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "DEBMOCK_HELPER"}
    done = run([*command, "--json", "doctor"], env=environment)
    assert done.returncode == 0, done.stderr
    own = Path(debmock.__file__).parent / "_libexec" / "debmock-helper"
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(str(own) in json.dumps(line) for line in said), done.stdout


def test_helper_of_the_environment_goes_first(command: list[str]) -> None:
    done = run([*command, "doctor"], env={**os.environ, "DEBMOCK_HELPER": "/nonexistent/helper"})
    assert done.returncode != 0
    assert "/nonexistent/helper" in done.stdout


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_stream_is_no_file_of_ours(closed: int, tmp_path: Path) -> None:
    words = f'exec "$0" -m debmock list {closed}>&-'
    done = run(["sh", "-c", words, sys.executable], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("debian-bookworm" in done.stdout) == (closed != 1)


def test_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    done = run([*COMMANDS["module"], "list"], cwd="/", env={"HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
