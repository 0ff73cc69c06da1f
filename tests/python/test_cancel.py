"""Stopping, and what others do meanwhile."""

from __future__ import annotations

import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import debmock
from debmock import _native


def is_line(event: debmock.Event) -> bool:
    return isinstance(event, debmock.LogLine) and event.text == "line"


def assert_usable(root: debmock.Buildroot, tmp_path: Path) -> None:
    result = root.rebuild("good", resultdir=tmp_path / "usable")
    assert result.status is debmock.Status.SUCCESSFUL


def test_a_token_stops_a_build_from_another_thread(root: debmock.Buildroot, tmp_path: Path) -> None:
    token = debmock.CancelToken()
    assert not token.cancelled

    def stop(event: debmock.Event) -> None:
        if is_line(event) and not token.cancelled:
            thread = threading.Thread(target=token.cancel)
            thread.start()
            thread.join()

    with pytest.raises(debmock.Cancelled) as caught:
        root.rebuild("slow", resultdir=tmp_path / "out", on_event=stop, cancel=token)
    assert token.cancelled
    assert caught.value.result is not None
    assert caught.value.result.status is debmock.Status.CANCELLED
    assert caught.value.result.failed_stage == "build"
    with pytest.raises(debmock.Cancelled):
        root.init(cancel=token)
        root.rebuild("good", resultdir=tmp_path / "out", cancel=token)
    assert_usable(root, tmp_path)


def test_what_a_callback_raises_stops_the_build_and_is_raised(
    root: debmock.Buildroot, tmp_path: Path
) -> None:
    def stop(event: debmock.Event) -> None:
        if is_line(event):
            raise KeyError(event.text)

    with pytest.raises(KeyError):
        root.rebuild("slow", resultdir=tmp_path / "out", on_event=stop)
    assert_usable(root, tmp_path)


def test_leaving_the_block_stops_an_operation(root: debmock.Buildroot, tmp_path: Path) -> None:
    with root.start_rebuild("slow", resultdir=tmp_path / "out") as operation:
        for event in operation:
            if is_line(event):
                break
        assert not operation.finished
    assert operation.finished
    with pytest.raises(debmock.Cancelled):
        operation.result()
    forgotten = root.start_rebuild("slow", resultdir=tmp_path / "out")
    del forgotten
    assert_usable(root, tmp_path)


@pytest.mark.parametrize(
    "way", ["rebuild", "result", "iterate", "run", "wait", "communicate", "asyncio"]
)
def test_ctrl_c_stops_at_once_and_the_buildroot_is_usable(tiny, tmp_path: Path, way: str) -> None:
    command = tiny.host("interrupt.py", way, tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "working\n"
        host.send_signal(signal.SIGINT)
        try:
            said, _ = host.communicate(timeout=30)
        finally:
            host.kill()
    assert said == "interrupted\nusable\n"
    assert host.returncode == 0


def test_other_threads_run_meanwhile(session: debmock.Session) -> None:
    ended = threading.Event()
    turns = 0

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        before = turns
        session.run(["sleep", "0.3"])
        # With the lock of the interpreter held there would be a handful.
        assert turns - before > 1000
    finally:
        ended.set()
        thread.join()


def test_eight_threads_each_drive_their_own_buildroot(tiny, tmp_path: Path) -> None:
    def build(number: int) -> debmock.BuildResult:
        with tiny.root() as root:
            seen = []
            result = root.rebuild(
                "good", resultdir=tmp_path / str(number), on_event=lambda e: seen.append(e)
            )
            assert {event.operation for event in seen} == {seen[0].operation}
            root.scrub("chroot")
            return result

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(build, range(8)))
    assert {result.status for result in results} == {debmock.Status.SUCCESSFUL}
    assert (
        len(
            {
                file.sha256
                for result in results
                for file in result.outputs
                if file.path.suffix == ".buildinfo"
            }
        )
        == 1
    )


def test_many_threads_run_programs_in_one_session(session: debmock.Session) -> None:
    def run(number: int) -> str | None:
        done = session.run(["echo", str(number)], capture_output=True, text=True)
        return done.stdout

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(64))) == [f"{number}\n" for number in range(64)]


def test_deleting_waits_without_holding_up_others(root: debmock.Buildroot) -> None:
    with root.session() as session:
        operation = session.start_run("trap '' TERM; while true; do sleep 0.01; done")
    assert isinstance(operation._native, _native.Operation)
    turns = 0
    ended = threading.Event()

    def count() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    del operation
    ended.set()
    thread.join()
    root.clean()
