"""Buildroots: made, changed, exported, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

import debmock


def test_a_buildroot_is_made_and_removed(tiny, root: debmock.Buildroot) -> None:
    assert not root.exists()
    root.init()
    assert root.exists()
    listing = root.list()
    (own,) = [listed for listed in listing.buildroots if listed.name == root.name]
    assert own.base is not None
    (layer,) = [layer for layer in listing.layers if root.name in layer.used_by]
    assert layer.bytes > 1_000_000
    assert listing.lists > 0
    root.clean()
    root.scrub(debmock.Scrub.CHROOT)
    assert not root.exists()
    root.scrub(["chroot", debmock.Scrub.LISTS])
    with pytest.raises(debmock.UsageError):
        root.scrub("everything")
    with pytest.raises(debmock.UsageError):
        root.scrub([])


def test_packages_come_and_go(root: debmock.Buildroot) -> None:
    plan = root.install(["greeting"])
    assert [(package.name, package.version) for package in plan.installed] == [("greeting", "1.0")]
    assert plan.installed[0].uri.startswith("file:")
    assert len(plan.installed[0].sha256) == 64
    assert root.update() == debmock.Plan(installed=(), removed=())
    plan = root.remove(["greeting"])
    assert [(gone.name, gone.purge) for gone in plan.removed] == [("greeting", True)]
    assert root.apt(["install", "greeting"]).installed
    with pytest.raises(debmock.DependencyError, match="no-such-package"):
        root.install(["no-such-package"])
    with pytest.raises(debmock.UsageError):
        root.install([])
    with pytest.raises(TypeError):
        root.install("greeting")


def test_a_snapshot_is_what_the_root_was(root: debmock.Buildroot) -> None:
    root.install(["greeting"])
    root.snapshot("before")
    root.remove(["greeting"])
    (snapshot,) = root.list_snapshots()
    assert snapshot.name == "before" and snapshot.created > 1_700_000_000
    with root.session(), pytest.raises(debmock.BusyError):
        root.rollback("before")
    root.rollback("before")
    assert root.install(["greeting"]).installed == ()
    for name in ("before", "a/b"):
        with pytest.raises(debmock.UsageError):
            root.snapshot(name)
    root.remove_snapshot("before")
    assert root.list_snapshots() == ()
    with pytest.raises(debmock.UsageError, match="no snapshot"):
        root.rollback("before")


def test_a_root_is_exported_and_imported(tiny, root: debmock.Buildroot, tmp_path: Path) -> None:
    root.install(["greeting"])
    packed, plain = tmp_path / "root.tar.zst", tmp_path / "root.tar"
    root.export(packed, level=1, source_date_epoch=1_700_000_000)
    root.export(str(plain))
    assert 0 < packed.stat().st_size < plain.stat().st_size
    root.export(tmp_path / "other", compression=debmock.Compression.ZSTD)
    with pytest.raises(debmock.UsageError):
        root.export(tmp_path / "root.rar")
    with pytest.raises(debmock.UsageError):
        root.export(tmp_path / "x.tar", level=3)
    with tiny.root() as other:
        other.import_(packed)
        with other.session() as session:
            done = session.run(["cat", "/srv/greeting"], capture_output=True, check=True)
            assert done.stdout == b"hello\n"


def test_layers_of_an_image_are_imported(tiny, root: debmock.Buildroot, tmp_path: Path) -> None:
    image = tmp_path / "root.oci.tar"
    root.init()
    root.export(image)
    (layer,) = [layer for layer in root.list().layers if root.name in layer.used_by]
    keys = root.import_layers(image)
    assert keys == (layer.key,)
    root.export(tmp_path / "root.tar")
    with pytest.raises(debmock.BuildrootError, match="no image with layers"):
        root.import_layers(tmp_path / "root.tar")


def test_an_open_session_keeps_others_away(root: debmock.Buildroot, tmp_path: Path) -> None:
    with root.session() as session:
        for refused in (root.clean, lambda: root.export(tmp_path / "x.tar")):
            with pytest.raises(debmock.BusyError) as caught:
                refused()
            assert caught.value.hint
        with root.session() as again:
            assert again.run("true").returncode == 0
        assert session.run("true").returncode == 0
    root.clean()


def test_another_process_is_waited_for_and_told(tiny) -> None:
    config = debmock.Config.from_file(tiny.config_file, overrides={"lock_timeout": 1})
    options = {"uniqueext": "held", **tiny.places}
    with debmock.Buildroot(config, **options) as one, debmock.Buildroot(config, **options) as two:
        with one.session(), pytest.raises(debmock.LockedError):
            two.init()
        two.init()


def test_what_is_closed_is_closed(tiny) -> None:
    root = tiny.root()
    session = root.session()
    root.close()
    root.close()
    assert root.closed
    with pytest.raises(debmock.UsageError, match="the buildroot was closed"):
        root.init()
    # The session lives on without it.
    assert session.run("true").returncode == 0
    session.close()
    assert session.closed
    with pytest.raises(debmock.UsageError, match="the session was closed"):
        session.run("true")


def test_names_that_cannot_be_are_refused(tiny) -> None:
    with pytest.raises(debmock.UsageError):
        debmock.Buildroot(tiny.config, uniqueext="../x", **tiny.places)
    with pytest.raises(debmock.HelperError):
        debmock.Buildroot(tiny.config, helper="/nonexistent/helper", **tiny.places)
    with pytest.raises(debmock.ConfigError):
        debmock.Buildroot("no-such-config")


def test_the_doctor_finds_a_mode() -> None:
    diagnosis = debmock.doctor()
    assert diagnosis.usable
    assert any(mode.works for mode in diagnosis.modes)
    assert diagnosis.helper is not None and diagnosis.helper.is_file()
