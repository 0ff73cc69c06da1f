"""Exceptions."""

from __future__ import annotations

import builtins
import errno
import pickle
from pathlib import Path

import pytest

import debmock
from debmock import _error, _native


def test_every_kind_of_the_library_has_its_class() -> None:
    rows = _native.error_kinds()
    assert {number: name.upper() for number, name, _, _ in rows} == {
        kind.value: kind.name for kind in debmock.ErrorKind
    }
    for number, _, class_name, exit_code in rows:
        cls = getattr(debmock, class_name)
        assert cls("").exit_code == exit_code
        assert issubclass(cls, debmock.Error)
        assert cls.kind == number
        assert _error.CLASSES[number] is cls
        assert cls.__doc__


def told(kind: int, **more: object) -> dict[str, object]:
    return {
        "kind": kind,
        "message": "outer: inner",
        "chain": ["outer", "inner"],
        "hint": "do it",
        "errno": None,
        **more,
    }


def test_an_unknown_kind_is_an_error() -> None:
    error = _error.from_native(told(9999))
    assert type(error) is debmock.Error
    assert error.kind is debmock.ErrorKind.UNEXPECTED


def test_errors_tell_what_why_and_what_to_do() -> None:
    error = _error.from_native(told(debmock.ErrorKind.ARCHIVE))
    assert str(error) == "outer: inner"
    assert error.chain == ("outer", "inner")
    assert error.detail == "inner"
    assert error.hint == "do it"
    assert error.result is None


def test_some_are_built_in_exceptions_too() -> None:
    timeout = _error.from_native(told(debmock.ErrorKind.TIMEOUT))
    assert isinstance(timeout, builtins.TimeoutError)
    assert str(timeout) == "outer: inner"
    io = _error.from_native(told(debmock.ErrorKind.IO, errno=errno.ENOENT))
    assert isinstance(io, OSError)
    assert io.errno == errno.ENOENT
    assert str(io) == "outer: inner"
    full = _error.from_native(told(debmock.ErrorKind.NO_SPACE, errno=errno.ENOSPC))
    assert isinstance(full, debmock.IoError)
    assert issubclass(debmock.UsageError, ValueError)


def test_errors_can_be_pickled() -> None:
    for kind in debmock.ErrorKind:
        error = _error.from_native(told(kind, errno=5))
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert (str(copy), copy.hint, copy.chain) == (str(error), error.hint, error.chain)
        assert getattr(copy, "errno", None) == getattr(error, "errno", None)
    command = pickle.loads(pickle.dumps(debmock.CommandError(["a", "b"], -9, b"out")))
    assert str(command) == "a b ended with signal 9"
    assert command.stdout == b"out"


def test_an_error_of_the_system_has_its_number(session: debmock.Session) -> None:
    with pytest.raises(debmock.IoError) as caught:
        session.copy_in("/nonexistent/file", "/srv/")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(OSError, match="/nonexistent/file"):
        session.copy_in("/nonexistent/file", "/srv/")


def test_a_result_directory_that_cannot_be_is_told(root: debmock.Buildroot, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(debmock.ResultDirError) as caught:
        root.rebuild("good", resultdir=file / "below")
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)
