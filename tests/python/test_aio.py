"""debmock in asyncio."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import debmock
import debmock.aio
from debmock import PIPE

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work, debug=True)


def aio_root(tiny, ext: str) -> debmock.aio.Buildroot:
    return debmock.aio.Buildroot(tiny.config, uniqueext=ext, **tiny.places)


def is_line(event: debmock.Event) -> bool:
    return isinstance(event, debmock.LogLine) and event.text == "line"


def test_a_day_in_a_loop(tiny, tmp_path: Path) -> None:
    async def day() -> None:
        async with aio_root(tiny, "aio-day") as root:
            await root.init()
            assert root.exists()
            events: list[debmock.Event] = []
            result = await root.rebuild("good", resultdir=tmp_path, on_event=events.append)
            assert result.packages and events
            async with root.session() as session:
                assert (await session.install(["greeting"])).installed
                done = await session.run(["cat", "/srv/greeting"], capture_output=True, text=True)
                assert done.stdout == "hello\n"
                await session.copy_in(tmp_path / "result.json", "/srv/")
                await session.copy_out("/srv/result.json", tmp_path / "back")
                with pytest.raises(debmock.BusyError):
                    await root.clean()
            session = await root.session()
            await session.close()
            await session.close()
            with pytest.raises(debmock.UsageError):
                await session.run("true")
            with pytest.raises(debmock.UsageError, match="closed"):
                await session.install(["greeting"])
            assert (await root.list()).layers
            await root.export(tmp_path / "root.tar")
            await root.import_(tmp_path / "root.tar")
            with pytest.raises(debmock.BuildrootError):
                await root.import_layers(tmp_path / "root.tar")
            await root.scrub("chroot")
            with pytest.raises(debmock.BuildError) as caught:
                await root.rebuild("bad", resultdir=tmp_path)
            assert caught.value.result is not None
        assert root.closed
        assert (await debmock.aio.doctor()).usable
        assert await debmock.aio.configs()

    run(day())


def test_events_are_an_asynchronous_iterator(tiny, tmp_path: Path) -> None:
    async def follow() -> None:
        root = aio_root(tiny, "aio-events")
        async with root.start_rebuild("good", resultdir=tmp_path) as operation:
            lines = [event.text async for event in operation if isinstance(event, debmock.LogLine)]
            assert operation.finished
            assert (await operation).packages
            assert (await operation.result()).packages
        assert "building" in lines
        async with root.start_rebuild("slow", resultdir=tmp_path) as operation:
            async for event in operation:
                if is_line(event):
                    break
        assert operation.finished
        with pytest.raises(debmock.Cancelled):
            await operation

    run(follow())


def test_cancelling_a_task_stops_its_work_first(tiny, tmp_path: Path) -> None:
    async def cancel(times: int) -> None:
        root = aio_root(tiny, "aio-cancel")
        begun = asyncio.Event()

        def show(event: debmock.Event) -> None:
            if is_line(event):
                begun.set()

        task = asyncio.create_task(root.rebuild("slow", resultdir=tmp_path / "slow", on_event=show))
        await begun.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        # The loop went on while the work ended.
        assert turns > 10
        # Nobody works in the buildroot any more.
        await root.clean()
        assert (await root.rebuild("good", resultdir=tmp_path / "good")).packages

    run(cancel(1))
    run(cancel(5))


def test_timeouts_of_asyncio_are_its_own(tiny, tmp_path: Path) -> None:
    async def limited() -> None:
        root = aio_root(tiny, "aio-limit")
        await root.init()
        with pytest.raises(asyncio.TimeoutError) as caught:
            await asyncio.wait_for(root.rebuild("slow", resultdir=tmp_path), 0.5)
        assert not isinstance(caught.value, debmock.Error)
        token = debmock.CancelToken()
        task = asyncio.create_task(root.rebuild("slow", resultdir=tmp_path, cancel=token))
        await asyncio.sleep(0.2)
        token.cancel()
        with pytest.raises(debmock.Cancelled):
            await task

    run(limited())


def test_what_a_callback_raises_stops_the_work(tiny, tmp_path: Path) -> None:
    def stop(event: debmock.Event) -> None:
        if is_line(event):
            raise KeyError

    async def work() -> None:
        root = aio_root(tiny, "aio-callback")
        with pytest.raises(KeyError):
            await root.rebuild("slow", resultdir=tmp_path, on_event=stop)
        await root.clean()

    run(work())


def test_several_builds_at_once_and_several_waiters(tiny, tmp_path: Path) -> None:
    async def work() -> None:
        roots = [aio_root(tiny, f"aio-{number}") for number in range(4)]
        results = await asyncio.gather(
            *(root.rebuild("good", resultdir=tmp_path / root.name) for root in roots)
        )
        assert all(result.packages for result in results)
        operation = roots[0].start_rebuild("good", resultdir=tmp_path / "shared")
        one, two = await asyncio.gather(operation.result(), operation.result())
        assert one is two
        failing = roots[1].start_rebuild("bad", resultdir=tmp_path / "shared2")
        ended = await asyncio.gather(failing.result(), failing.result(), return_exceptions=True)
        assert all(isinstance(error, debmock.BuildError) for error in ended)

    run(work())


def test_programs_have_streams_of_asyncio(tiny) -> None:
    async def work() -> None:
        async with aio_root(tiny, "aio-popen").session() as session:
            process = await session.popen(["cat"], stdin=PIPE, stdout=PIPE)
            output, _ = await process.communicate(b"x" * 1_000_000)
            assert (len(output or b""), process.returncode) == (1_000_000, 0)
            process.close()
            behind = await session.popen("sleep 600 & echo done", stdout=PIPE)
            assert await behind.communicate() == (b"done\n", None)
            behind.close()
            loud = await session.popen("echo done; yes & exit 0", stdout=PIPE)
            printed, _ = await asyncio.wait_for(loud.communicate(), 60)
            assert (printed or b"").startswith(b"done\n")
            loud.close()
            deaf = await session.popen("head -c 1", stdin=PIPE, stdout=PIPE)
            assert (await deaf.communicate(b"x" * 1_000_000))[0] == b"x"
            deaf.close()
            async with await session.popen(
                "read x; echo got $x >&2", stdin=PIPE, stderr=PIPE
            ) as other:
                assert other.stdin is not None and other.stderr is not None
                other.stdin.write(b"it\n")
                assert await other.stderr.readline() == b"got it\n"
            assert other.returncode == 0
            terminal = await session.popen("read x; echo got $x", terminal=(5, 7))
            assert terminal.stdin is not None and terminal.stdout is not None
            terminal.resize(8, 9)
            terminal.stdin.write(b"it\n")
            await terminal.stdout.readline()
            assert await terminal.stdout.readline() == b"got it\r\n"
            assert await terminal.wait() == 0
            terminal.close()
            killed = await session.popen(["sleep", "600"])
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(killed.wait(), 0.05)
            killed.kill()
            assert await killed.wait() == -9
            killed.close()

    run(work())


def test_an_operation_that_is_forgotten_ends(tiny, tmp_path: Path) -> None:
    async def forget() -> None:
        root = aio_root(tiny, "aio-forgotten")
        await root.init()
        root.start_rebuild("slow", resultdir=tmp_path)

    run(forget())
    gc.collect()


def test_the_names_are_those_of_the_blocking_classes() -> None:
    skipped = {"__enter__", "__exit__", "__aenter__", "__aexit__"}
    for ours in (debmock.Buildroot, debmock.Session):
        theirs = getattr(debmock.aio, ours.__name__)
        names = {name for name in dir(ours) if not name.startswith("__")} - skipped
        public = {name for name in names if not name.startswith("_")}
        assert public == {name for name in dir(theirs) if not name.startswith("_")}
        for name in public:
            here, there = getattr(ours, name), getattr(theirs, name)
            if isinstance(here, property):
                continue
            if name == "popen":
                # Streams of asyncio have bytes only.
                continue
            mine, other = inspect.signature(here), inspect.signature(there)
            assert list(mine.parameters) == list(other.parameters), name
