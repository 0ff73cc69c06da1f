"""Processes that fork, with objects of debmock in them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import debmock
from conftest import until


def test_a_forked_child_is_refused_and_the_parent_goes_on(tiny, tmp_path: Path) -> None:
    command = tiny.host("forked.py", tmp_path, python=("-W", "ignore::DeprecationWarning"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr, done.returncode) == ("ok\n", "", 0)


def sleeps(seconds: str) -> bool:
    """Whether a program of this machine sleeps that long."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                    return True
            except OSError:
                pass
    return False


def test_a_child_that_outlives_its_killed_parent_holds_nothing(tiny) -> None:
    seconds = str(100_000_000 + os.getpid())
    command = tiny.host("forked.py", seconds, python=("-W", "ignore::DeprecationWarning"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        try:
            child = int(host.stdout.readline())
            until(lambda: sleeps(seconds), "the program in the session starts")
        finally:
            host.kill()
        try:
            host.wait()
            until(lambda: not sleeps(seconds), "the session ends with the host")
            # Whoever holds the lock is waited for a second at most.
            config = debmock.Config.from_file(tiny.config_file, overrides={"lock_timeout": 1})
            with debmock.Buildroot(config, uniqueext="forked", **tiny.places) as root:
                with root.session() as session:
                    assert session.run("true").returncode == 0
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)
