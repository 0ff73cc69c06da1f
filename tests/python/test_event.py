"""Events: as callbacks, as iterators, as records of logging."""

from __future__ import annotations

import logging
import pickle
import re
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import debmock
from debmock import _event


def test_every_event_of_the_library_has_its_class() -> None:
    source = Path(__file__).parents[2] / "core" / "src" / "event.rs"
    if not source.is_file():
        pytest.skip("there are no sources of the library here")
    text = source.read_text()
    variants = text[text.index("pub enum What {") :]
    variants = variants[: variants.index("\n}")]
    found = dict(re.findall(r"\n    (\w+) \{(.*?)\n    \},", variants, re.S))
    classes = {cls.__name__: cls for cls in _event.CLASSES.values()}
    assert found.keys() == classes.keys()
    for name, body in found.items():
        fields = re.findall(r"\n        (\w+):", body)
        assert tuple(fields) == classes[name].__slots__, name


def test_what_is_not_known_is_still_an_event() -> None:
    told = {"event": "new", "operation": 1, "sequence": 2, "time": 3.0, "elapsed": 4.0, "x": 5}
    event = _event.from_native(told)
    assert isinstance(event, debmock.OtherEvent)
    assert (event.name, event.data["x"], event.sequence) == ("new", 5, 2)
    odd = {**told, "event": "log_line", "log": "new", "text": "t"}
    assert isinstance(_event.from_native(odd), debmock.OtherEvent)


def test_events_are_values() -> None:
    def line(text: str) -> debmock.LogLine:
        return debmock.LogLine(
            operation=1, sequence=2, time=3.0, elapsed=4.0, log=debmock.Log.BUILD, text=text
        )

    event = line("a")
    assert event == line("a") != line("b")
    assert hash(event) == hash(line("a"))
    assert pickle.loads(pickle.dumps(event)) == event
    assert event.to_dict()["text"] == "a"
    assert "text='a'" in repr(event)
    match event:
        case debmock.LogLine(text=text):
            assert text == "a"
        case _:
            pytest.fail("it does not match")
    for change in (lambda: setattr(event, "text", "b"), lambda: delattr(event, "text")):
        with pytest.raises(AttributeError):
            change()
    with pytest.raises(TypeError):
        debmock.LimitHit(limit="wall")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        debmock.LogLine(**event.to_dict(), more=1)  # type: ignore[call-arg]
    assert f"{debmock.Unit.BYTES}" == "bytes" == debmock.Unit.BYTES


def test_a_callback_sees_the_stages_in_order(root: debmock.Buildroot, tmp_path: Path) -> None:
    events: list[debmock.Event] = []
    # No other test needs this set: nothing has made a layer of it, in which nothing would happen.
    needs = ["greeting"]
    result = root.rebuild("good", resultdir=tmp_path, add_depends=needs, on_event=events.append)
    assert [event.sequence for event in events] == sorted(event.sequence for event in events)
    assert len({event.operation for event in events}) == 1
    started = [event.stage for event in events if isinstance(event, debmock.StageStarted)]
    assert [stage for stage in started if stage in result.stages][-1] == "collect"
    assert started[-2] == "build"
    kinds = {type(event) for event in events}
    assert {debmock.Progress, debmock.LogLine, debmock.StageFinished, debmock.Package} <= kinds


def test_a_started_operation_gives_its_events_and_its_result(
    root: debmock.Buildroot, tmp_path: Path
) -> None:
    with root.start_rebuild("good", resultdir=tmp_path) as operation:
        assert select.select([operation], [], [], 20)[0]
        lines = [event.text for event in operation if isinstance(event, debmock.LogLine)]
        assert operation.finished
        assert operation.next_event(0) is None
        result = operation.result()
        assert operation.result() is result
    assert "building" in lines
    assert result.status is debmock.Status.SUCCESSFUL


def test_several_threads_get_the_same_result(root: debmock.Buildroot, tmp_path: Path) -> None:
    operation = root.start_rebuild("good", resultdir=tmp_path)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: operation.result(), range(4)))
    assert all(result is results[0] for result in results)


def test_a_callback_may_wait_for_the_result_itself(session: debmock.Session) -> None:
    operation = session.start_run("echo a; echo b", check=True)
    results = []
    done = operation.result(lambda _: results.append(operation.result()))
    assert results[0] is done
    assert done.returncode == 0


def test_an_operation_that_fails_raises_each_time(root: debmock.Buildroot, tmp_path: Path) -> None:
    operation = root.start_rebuild("bad", resultdir=tmp_path)
    for _ in range(2):
        with pytest.raises(debmock.BuildError) as caught:
            operation.result()
        assert caught.value.result is not None


def test_records_of_logging_carry_the_events(
    root: debmock.Buildroot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "debmock")
    root.rebuild("good", resultdir=tmp_path)
    stages = [record for record in caplog.records if record.name == "debmock.stage"]
    assert any(isinstance(record.event, debmock.StageStarted) for record in stages)
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    caplog.clear()
    caplog.set_level(logging.DEBUG, "debmock.log.build")
    with root.start_rebuild("good", resultdir=tmp_path) as operation:
        operation.result()
    lines = [record.getMessage() for record in caplog.records if record.name == "debmock.log.build"]
    assert "building" in lines


def test_nothing_is_printed_unless_somebody_asks(tiny) -> None:
    program = tiny.host("quiet.py")
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert sys.executable
