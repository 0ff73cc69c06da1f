"""Configs."""

from datetime import timedelta
from pathlib import Path

import pytest

import debmock
from debmock import Config


def test_a_config_has_a_name_and_attributes() -> None:
    config = Config.load("debian-bookworm")
    assert (config.name, config.distribution, config.suite) == (
        "debian-bookworm",
        "debian",
        "bookworm",
    )
    assert config.architecture
    assert Config.load("debian-bookworm-arm64").architecture == "arm64"
    assert Config.default().suite


def test_overrides_are_words_or_a_mapping() -> None:
    words = Config.load("debian-bookworm", overrides=["build.jobs=3", "build.user=me"])
    mapping = Config.load("debian-bookworm", overrides={"build.jobs": 3, "build.user": "me"})
    for config in (words, mapping):
        assert config["build.jobs"] == 3
        assert config["build.user"] == "me"
        assert config.settings["build.jobs"].origins == ("option -o build.jobs",)
    with pytest.raises(TypeError):
        Config.load("debian-bookworm", overrides="build.jobs=3")
    with pytest.raises(debmock.UsageError):
        Config.load("debian-bookworm", overrides=["nonsense"])


def test_a_dictionary_extends_another_config() -> None:
    config = Config.from_dict(
        {
            "extends": "debian-bookworm",
            "build": {
                "path": Path("/build/here"),
                "timeout": timedelta(minutes=2),
                "profiles": ("nocheck",),
                "environment": {"A": "b"},
            },
        },
        name="mine",
    )
    assert config.name == "mine"
    assert config.suite == "bookworm"
    assert config["build.path"] == "/build/here"
    assert config["build.timeout"] == 120
    assert config["build.profiles"] == ["nocheck"]
    assert config["build.environment"] == {"A": "b"}


def test_files_and_texts_are_configs_too(tmp_path: Path) -> None:
    text = 'extends = "debian-trixie"\n'
    path = tmp_path / "own.toml"
    path.write_text(text)
    assert Config.from_file(path).name == "own"
    assert Config.from_toml(text, name="text").suite == Config.from_file(str(path)).suite
    assert Config.load(str(path)).suite == "trixie"


def test_mistakes_are_told_with_a_hint() -> None:
    with pytest.raises(debmock.ConfigError) as caught:
        Config.load("debian-bokworm")
    assert caught.value.hint == "did you mean debian-bookworm?"
    assert caught.value.kind is debmock.ErrorKind.CONFIG
    with pytest.raises(debmock.ConfigError, match="jbos"):
        Config.from_dict({"extends": "debian-bookworm", "build": {"jbos": 1}})


def test_values_that_toml_does_not_have_are_refused() -> None:
    for value in (None, object(), timedelta(seconds=0.5), b"bytes"):
        with pytest.raises((TypeError, ValueError, debmock.ConfigError)):
            Config.from_dict({"extends": "debian-bookworm", "build": {"timeout": value}})
    loop: dict[str, object] = {}
    loop["build"] = loop
    with pytest.raises(ValueError, match="too deep"):
        Config.from_dict(loop)


def test_a_config_is_made_by_its_constructors_only() -> None:
    with pytest.raises(TypeError):
        Config("debian-bookworm")  # type: ignore[arg-type]


def test_known_configs_are_told() -> None:
    names = [known.name for known in debmock.configs()]
    assert {"debian-bookworm", "debian-stable"} <= set(names)
    assert names == sorted(names)
