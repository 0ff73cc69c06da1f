"""Builds and their results."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

import debmock


def test_a_build_gives_packages_hashes_and_times(root: debmock.Buildroot, tmp_path: Path) -> None:
    result = root.rebuild("good", resultdir=tmp_path / "out")
    assert result.status is debmock.Status.SUCCESSFUL
    assert (result.name, result.version, result.suite) == ("good", "1.0", "tiny")
    (package,) = result.packages
    assert package.parent == tmp_path / "out" == result.resultdir
    (file,) = [file for file in result.outputs if file.path == package]
    assert hashlib.sha256(package.read_bytes()).hexdigest() == file.sha256
    assert file.size == package.stat().st_size
    assert result.changes is not None and result.changes.is_file()
    assert result.buildinfo is not None and result.buildinfo.is_file()
    assert result.log().read_text().count("building\n") == 1
    assert result.log("root.log") in result.logs
    assert 0 < result.stages["build"].seconds < result.seconds
    assert all(stage.success for stage in result.history)
    assert (result.failed_stage, result.error, result.exit_code) == (None, None, 0)
    assert "dpkg-dev" in [package.name for package in result.dependencies]
    assert "dpkg" in [package.name for package in result.installed]
    assert {file.path.suffix for file in result.inputs} == {".dsc", ".gz"}
    assert result.data == json.loads((tmp_path / "out" / "result.json").read_text())
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(KeyError):
        result.log("other.log")
    with pytest.raises(AttributeError):
        result.name = "x"  # type: ignore[misc]


def test_a_failure_has_the_result(root: debmock.Buildroot, tmp_path: Path) -> None:
    with pytest.raises(debmock.BuildError) as caught:
        root.rebuild("bad", resultdir=tmp_path)
    error = caught.value
    assert "error: on purpose" in str(error)
    assert error.hint is not None and "build.log" in error.hint
    result = error.result
    assert result is not None
    assert (result.status, result.failed_stage) == (debmock.Status.FAILED, "build")
    assert result.exit_code == 7
    assert not result.stages["build"].success
    assert "on purpose" in result.log().read_text()
    assert result.packages == ()
    copy = pickle.loads(pickle.dumps(error))
    assert copy.result == result


def test_dependencies_are_installed_alone(root: debmock.Buildroot) -> None:
    plan = root.installdeps("good", add_depends=["greeting"])
    assert {"greeting", "fakeroot"} <= {package.name for package in plan.installed}
    with pytest.raises(debmock.SourceError):
        root.installdeps("no-such-source")
    with pytest.raises(debmock.DependencyError):
        root.installdeps("good", add_depends=["no-such-package"])


def test_options_reach_the_build(root: debmock.Buildroot, tmp_path: Path) -> None:
    result = root.rebuild(
        "good=1.0",
        resultdir=tmp_path,
        jobs=3,
        nocheck=True,
        profiles=["stage1"],
        cleanup_after=debmock.CleanupAfter.NEVER,
    )
    assert result.build_options == "parallel=3 nocheck"
    own = root.rebuild("good", resultdir=tmp_path, own_directory=True)
    assert own.resultdir == tmp_path / "good_1.0"
    assert result.profiles == ("stage1", "nocheck")


def test_mistakes_are_refused_before_anything_is_done(
    root: debmock.Buildroot, tmp_path: Path
) -> None:
    with pytest.raises(TypeError):
        root.rebuild("good")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="jbos"):
        root.rebuild("good", resultdir=tmp_path, jbos=3)
    for wrong in ({"profiles": "nocheck"}, {"jobs": "3"}, {"binnmu": -1}, {"profiles": [1]}):
        with pytest.raises((TypeError, OverflowError)):
            root.rebuild("good", resultdir=tmp_path, **wrong)
    for wrong in ({"cleanup_after": "sometimes"}, {"any": False, "all": False}):
        with pytest.raises(debmock.UsageError):
            root.rebuild("good", resultdir=tmp_path, **wrong)
    with pytest.raises(debmock.UsageError):
        root.rebuild("Not A Name", resultdir=tmp_path)
    # A path is a path, even if it looks like a name.
    with pytest.raises(debmock.UsageError, match="neither"):
        root.rebuild(Path("good"), resultdir=tmp_path)
