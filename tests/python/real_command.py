"""The command of the wheel in real roots, as root and as a user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

USER = "debmock-test"
COMMAND = [sys.executable, "-m", "debmock", "-q"]


@dataclass
class Caller:
    """Somebody with an empty cache and no roots."""

    prefix: list[str]
    environment: dict[str, str]
    place: Path

    def words(self, *words: str) -> list[str]:
        return [*self.prefix, *COMMAND, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*words),
            env=self.environment,
            cwd=self.place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module", params=["root", USER])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    name = request.param
    prefix: list[str] = []
    if os.geteuid() != 0:
        if name == "root":
            pytest.skip("commands as root: not root")
        name = pwd.getpwuid(os.geteuid()).pw_name
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        pytest.fail(f"there is no user {name}; the other tests of tests/run make it")
    if entry.pw_uid != os.geteuid():
        ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"]
        prefix = ["setpriv", *ids, "--init-groups", "--inh-caps=-all", "--"]
    place = Path(tempfile.mkdtemp(prefix="debmock-command.", dir="/var/tmp"))
    os.chown(place, entry.pw_uid, entry.pw_gid)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": entry.pw_dir,
        "LANG": "C.UTF-8",
        "DEBMOCK_CACHE_DIR": str(place / "cache"),
        "DEBMOCK_STATE_DIR": str(place / "state"),
    }
    somebody = Caller(prefix, environment, place)
    yield somebody
    somebody.run("scrub", "all")
    shutil.rmtree(place)


def test_runs_a_command_in_a_root(caller: Caller) -> None:
    done = caller.run("chroot", "--", "sh", "-c", "id -u; exit 7")
    assert (done.returncode, done.stdout) == (7, "0\n"), done.stderr


def test_doctor_finds_isolation(caller: Caller) -> None:
    done = caller.run("doctor")
    assert done.returncode == 0, done.stderr
    assert "_libexec/debmock-helper" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_command_and_session(caller: Caller, number: signal.Signals) -> None:
    mark = f"{3600 + number}.0625"
    process = subprocess.Popen(
        caller.words("chroot", "--", "sh", "-c", f"echo up; sleep {mark}; :"),
        env=caller.environment,
        cwd=caller.place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        # the command gets the signal first, and its shell ends by it
        assert process.wait(timeout=10) == 128 + number
    wait_until_gone(mark)


def test_second_interrupt_ends_the_process_at_once(caller: Caller) -> None:
    mark = "3700.0625"
    # a shell that does not care, so that the command outlives the first one
    process = subprocess.Popen(
        caller.words("chroot", "--", "sh", "-c", f"trap '' INT; echo up; sleep {mark}; :"),
        env=caller.environment,
        cwd=caller.place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"up\n"
        for _ in range(50):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    wait_until_gone(mark)


def wait_until_gone(mark: str) -> None:
    """Wait until no process has this word among its arguments."""
    for _ in range(100):
        left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark in read(path)]
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"these outlive the command: {left}")


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
