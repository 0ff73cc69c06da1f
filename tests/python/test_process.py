"""Programs that run while the caller does other things."""

from __future__ import annotations

import os
import resource
import select
import signal
import tty
from pathlib import Path

import pytest

import debmock
from debmock import DEVNULL, PIPE, STDOUT


def test_streams_are_pipes(session: debmock.Session) -> None:
    with session.popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.poll() is None
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.stdout.readline() == "one\n"
    assert process.returncode == 0


def test_communicate_writes_and_reads_at_once(session: debmock.Session) -> None:
    many = os.urandom(3_000_000)
    process = session.popen("cat; echo err >&2", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    output, errors = process.communicate(many)
    assert (output == many, errors, process.returncode) == (True, b"err\n", 0)
    process = session.popen("head -c 1", stdin=PIPE, stdout=PIPE)
    assert process.communicate(many)[0] == many[:1]
    mixed = session.popen("echo a; echo b >&2", stdout=PIPE, stderr=STDOUT, text=True)
    assert mixed.communicate() == ("a\nb\n", None)
    late = session.popen(["sleep", "60"], stdout=PIPE)
    with pytest.raises(debmock.TimeoutError):
        late.communicate(timeout=0.1)
    assert late.poll() is None
    late.close()


def test_what_goes_on_in_the_background_is_not_waited_for(session: debmock.Session) -> None:
    process = session.popen("sleep 60 & echo done", stdout=PIPE)
    assert process.communicate()[0] == b"done\n"
    done = session.run("sleep 60 & echo done", capture_output=True)
    assert done.stdout == b"done\n"


def test_what_prints_on_in_the_background_is_not_waited_for(session: debmock.Session) -> None:
    process = session.popen("echo done; yes & exit 0", stdout=PIPE)
    assert (process.communicate(timeout=60)[0] or b"").startswith(b"done\n")
    assert process.returncode == 0


def test_streams_are_as_before_after_a_timeout(session: debmock.Session) -> None:
    with session.popen("cat; exec sleep 60", stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        with pytest.raises(debmock.TimeoutError):
            # More than a pipe takes, so that neither stream has ended.
            process.communicate(bytes(10_000_000), timeout=0.01)
        assert os.get_blocking(process.stdout.fileno())
        assert process.stdin.closed or os.get_blocking(process.stdin.fileno())
        process.kill()


def test_a_stream_that_has_ended_is_not_asked_again_and_again(session: debmock.Session) -> None:
    # What this process takes is its own: nothing here waits for a certain time to have passed.
    before = resource.getrusage(resource.RUSAGE_SELF)
    session.run("exec 2>&-; sleep 3", capture_output=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_files_and_descriptors_are_streams(session: debmock.Session, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("through")
    with source.open() as stdin, target.open("w") as stdout:
        process = session.popen(["cat"], stdin=stdin, stdout=stdout.fileno(), stderr=DEVNULL)
        assert process.wait(20) == 0
    assert target.read_text() == "through"


def test_ways_out_of_the_root_are_refused(session: debmock.Session, tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    master, slave = os.openpty()
    try:
        for descriptor in (directory, slave, 9999):
            with pytest.raises((debmock.UsageError, debmock.IoError)):
                session.popen(["true"], stdin=descriptor)
    finally:
        for descriptor in (directory, master, slave):
            os.close(descriptor)


def test_signals_end_a_program(session: debmock.Session) -> None:
    process = session.popen(["sleep", "60"])
    ready, _, _ = select.select([process], [], [], 0)
    assert not ready
    with pytest.raises(TimeoutError):
        process.wait(0.05)
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    process.terminate()
    select.select([process], [], [], 20)
    with session.popen(["sleep", "60"]) as killed:
        killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -9


def test_an_exception_or_closing_kills_the_program(session: debmock.Session) -> None:
    with pytest.raises(KeyError), session.popen(["sleep", "60"], stdout=PIPE):
        raise KeyError
    process = session.popen("echo $$; exec sleep 60", stdout=PIPE)
    assert process.stdout is not None
    pid = process.stdout.readline().decode().strip()
    process.close()
    process.close()
    assert session.run(f"while test -e /proc/{pid}/stat; do sleep 0.01; done", timeout=20)
    with pytest.raises(debmock.UsageError):
        process.wait()


def test_a_terminal_has_a_size_that_changes(session: debmock.Session) -> None:
    with session.popen("tty; read x; echo got $x", terminal=(10, 20)) as process:
        terminal = process.terminal
        assert terminal is not None
        tty.setraw(terminal.fileno())
        assert os.get_terminal_size(terminal.fileno()) == (20, 10)
        process.resize(30, 40)
        assert os.get_terminal_size(terminal.fileno()) == (40, 30)
        terminal.write(b"it\n")
        said = b""
        while b"got it" not in said:
            said += terminal.read(1000) or b""
        assert said.startswith(b"/dev/pts/")
        assert process.wait() == 0
    with session.popen("true") as plain, pytest.raises(debmock.UsageError):
        plain.resize(1, 1)
    with pytest.raises(debmock.UsageError):
        session.popen("true", terminal=True, stdout=PIPE)


def test_a_program_keeps_its_session_open(root: debmock.Buildroot) -> None:
    with root.session() as session:
        process = session.popen(["cat"], stdin=PIPE, stdout=PIPE)
    assert process.communicate(b"still")[0] == b"still"
    process.close()
    del process
    root.clean()
