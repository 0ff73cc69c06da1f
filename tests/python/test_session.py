"""Sessions: programs that run to their end, and files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import debmock


def test_output_is_captured(session: debmock.Session) -> None:
    done = session.run("echo out; echo err >&2; exit 3", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    text = session.run(["echo", "é"], capture_output=True, text=True)
    assert text.stdout == "é\n"
    both = session.run("echo a; echo b >&2; echo c", capture_output=True, stderr=debmock.STDOUT)
    assert (both.stdout, both.stderr) == (b"a\nb\nc\n", None)
    assert done.peak_memory_kib > 0


def test_output_that_is_not_captured_becomes_events(
    session: debmock.Session, capfd: pytest.CaptureFixture[str]
) -> None:
    for given in (None, "x"):
        events: list[debmock.Event] = []
        done = session.run("cat; echo a; echo b >&2; printf c", input=given, on_event=events.append)
        assert (done.stdout, done.stderr) == (None, None)
        lines = [event for event in events if isinstance(event, debmock.LogLine)]
        assert {line.log for line in lines} == {debmock.Log.COMMAND}
        text = "".join(line.text for line in lines)
        assert text == ("xa" if given else "a") + "bc"
    assert capfd.readouterr() == ("", "")


def test_input_is_read(session: debmock.Session) -> None:
    many = b"0123456789abcdef" * 100_000
    done = session.run(["cat"], input=many, capture_output=True)
    assert done.stdout == many
    # Without any there is nothing to wait for.
    assert session.run(["cat"], capture_output=True).stdout == b""


def test_a_program_that_fails_raises_only_if_that_is_wanted(session: debmock.Session) -> None:
    assert session.run("exit 5").returncode == 5
    with pytest.raises(debmock.CommandError) as caught:
        session.run("echo why; exit 5", check=True, capture_output=True)
    assert (caught.value.returncode, caught.value.stdout) == (5, b"why\n")
    assert session.run("kill -9 $$").returncode == -9
    with pytest.raises(debmock.ExecError):
        session.run(["/no/such/program"])
    with pytest.raises(debmock.UsageError):
        session.run([])


def test_environment_directory_and_user(session: debmock.Session) -> None:
    script = 'echo "$A $(pwd) $(id -u) $LANG"'
    done = session.run(
        script, env={"A": "b"}, cwd=Path("/srv"), user="nobody", capture_output=True, text=True
    )
    assert done.stdout == "b /srv 65534 C.UTF-8\n"
    clear = session.run(script, clear_env=True, user=0, capture_output=True, text=True)
    assert clear.stdout == " / 0 \n"


def test_limits_end_a_program(session: debmock.Session) -> None:
    for limits in ({"timeout": 0.2}, {"silence_timeout": timedelta(seconds=0.2)}):
        for capture in (False, True):
            events: list[debmock.Event] = []
            with pytest.raises(TimeoutError) as caught:
                session.run(
                    ["sleep", "60"], capture_output=capture, on_event=events.append, **limits
                )
            assert isinstance(caught.value, debmock.TimeoutError)
            assert any(isinstance(event, debmock.LimitHit) for event in events)
    with pytest.raises(ValueError, match="timeout"):
        session.run("true", timeout=-1)


def test_output_without_end_is_refused(session: debmock.Session) -> None:
    for both in (None, debmock.STDOUT):
        with pytest.raises(debmock.UnexpectedError, match="more than 1000 bytes"):
            session.run(
                "while true; do echo line; done",
                capture_output=True,
                max_output=1000,
                stderr=both,
            )


def test_arguments_that_are_none_are_refused(session: debmock.Session) -> None:
    with pytest.raises(TypeError, match="shell"):
        session.run("true", shell=True)
    with pytest.raises(ValueError):
        session.run("true", stderr=debmock.PIPE)


def test_files_go_in_and_out(session: debmock.Session, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below" / "file").write_bytes(b"content")
    session.copy_in(tree, "/srv/")
    done = session.run(["cat", "/srv/tree/below/file"], capture_output=True)
    assert done.stdout == b"content"
    session.copy_out("/srv/tree", str(tmp_path / "back"))
    assert (tmp_path / "back" / "below" / "file").read_bytes() == b"content"
    session.copy_out(Path("/etc/os-release"), tmp_path)
    assert "tiny" in (tmp_path / "os-release").read_text()
    with pytest.raises(debmock.BuildrootError):
        session.copy_out("/nowhere", tmp_path)


def test_a_session_does_what_its_buildroot_does(session: debmock.Session, tmp_path: Path) -> None:
    session.install(["greeting"])
    assert session.run(["test", "-e", "/srv/greeting"]).returncode == 0
    result = session.rebuild("good", resultdir=tmp_path)
    assert result.status is debmock.Status.SUCCESSFUL
    # It was built in this session, which still has what came before.
    assert session.run(["test", "-e", "/srv/greeting"]).returncode == 0
    assert session.buildroot.name


def test_a_closed_session_does_nothing_any_more(root: debmock.Buildroot, tmp_path: Path) -> None:
    session = root.session()
    session.close()
    for work in (
        lambda: session.install(["greeting"]),
        lambda: session.start_update(),
        lambda: session.rebuild("good", resultdir=tmp_path),
        lambda: session.run("true"),
    ):
        with pytest.raises(debmock.UsageError, match="closed"):
            work()
    # Nothing was opened instead.
    root.clean()


def test_a_session_with_names_of_hosts_is_not_one_without(root: debmock.Buildroot) -> None:
    with root.session() as session:
        with root.session():
            pass
        with pytest.raises(debmock.BusyError, match="network"):
            root.session(network=True)
        assert session.run("true").returncode == 0
    with root.session(network=True), root.session(network=True), root.session():
        pass
