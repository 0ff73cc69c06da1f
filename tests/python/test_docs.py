"""Every program of ``docs/python.md`` runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import debmock

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_programs_of_the_page_run(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBMOCK_CACHE_DIR", str(tiny.cache))
    monkeypatch.setenv("DEBMOCK_STATE_DIR", str(tiny.state))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "patch").write_text("")
    # The small archive stands for Debian's; a config of a file cannot be extended.
    text = PAGE.read_text()
    text = text.replace('"extends": "debian-bookworm"', '"extends": "debian-trixie"')
    for there, here in {
        '"debian-bookworm"': repr(str(tiny.config_file)),
        '"hello"': '"good"',
        '"debhelper"': '"greeting"',
    }.items():
        assert there in text
        text = text.replace(there, here)
    programs = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(programs) == 8
    names: dict[str, object] = {}
    for program in programs:
        exec(compile(program, str(PAGE), "exec"), names)
    said, complained = capfd.readouterr()
    assert complained == ""
    for words in ("good_1.0", "tiny distribution", "a\nb\n", "building", "no-such-source"):
        assert words in said
    root = names["root"]
    assert isinstance(root, debmock.Buildroot)
    root.close()
