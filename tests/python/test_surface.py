"""The interface as a whole: what is told is there, documented and typed."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import debmock
import debmock.aio

PACKAGE = Path(debmock.__file__).parent


def test_every_public_name_is_there_and_documented() -> None:
    for module in (debmock, debmock.aio):
        assert module.__doc__
        for name in module.__all__:
            member = getattr(module, name)
            if isinstance(member, (int, str)):
                continue
            assert inspect.getdoc(member), name
            if not inspect.isclass(member):
                continue
            for attribute, value in vars(member).items():
                told = callable(value) or isinstance(value, (property, classmethod))
                if told and not attribute.startswith("_") and not inspect.isclass(value):
                    assert inspect.getdoc(getattr(member, attribute)), f"{name}.{attribute}"


def test_every_long_call_can_be_started() -> None:
    for cls in (debmock.Buildroot, debmock.Session, debmock.aio.Buildroot, debmock.aio.Session):
        for name, value in inspect.getmembers(cls, inspect.isfunction):
            if name.startswith("_") or "cancel" not in inspect.signature(value).parameters:
                continue
            assert name.startswith("start_") or hasattr(cls, f"start_{name.rstrip('_')}"), name


def check(*command: str) -> None:
    env = dict(os.environ)
    # mypy finds what is installed by itself, and insists on it.
    if PACKAGE.parent.name not in ("site-packages", "dist-packages"):
        env["MYPYPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, env=env, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_checked(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    cache = f"--cache-dir={tmp_path}"
    check("mypy", "--strict", cache, "-p", "debmock")
    program = tmp_path / "caller.py"
    program.write_text(CALLER)
    check("mypy", "--strict", cache, str(program))


def test_the_stubs_are_those_of_the_native_module() -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    check("mypy.stubtest", "debmock._native")


CALLER = """
from datetime import timedelta
from pathlib import Path
from typing_extensions import assert_type
import debmock, debmock.aio

def sync(root: debmock.Buildroot, session: debmock.Session) -> None:
    assert_type(session.run(["a"], text=True), debmock.Completed[str])
    assert_type(session.run(["a"], timeout=timedelta(1), cwd=Path("/")), debmock.Completed[bytes])
    assert_type(session.run(["a"], text=True).stdout, str | None)
    operation = root.start_rebuild("a", resultdir="b", jobs=3)
    assert_type(operation, debmock.Operation[debmock.BuildResult])
    assert_type(root.start_rebuild("a", resultdir="b").result().packages, tuple[Path, ...])
    assert_type(root.session(), debmock.Session)
    with root.session() as inner, inner.popen("a", text=True) as process:
        assert_type(process.communicate("x"), tuple[str | None, str | None])
    for event in root.start_init():
        if isinstance(event, debmock.Progress):
            assert_type(event.total, int | None)
    debmock.LimitHit(operation=1, sequence=2, time=3.0, elapsed=4.0, limit="wall")

async def loop(root: debmock.aio.Buildroot) -> None:
    assert_type(await root.rebuild("a", resultdir="b"), debmock.BuildResult)
    async with root.session() as session:
        assert_type(await session.run(["a"], text=True), debmock.Completed[str])
    async for event in root.start_init():
        assert_type(event, debmock.Event)
"""
