"""Configs."""

from __future__ import annotations

from . import _native
from ._record import Record
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    #: Settings that come over everything else: ``KEY=VALUE`` strings, as the command line has
    #: them, or a mapping of dotted keys.
    Overrides = Iterable[str] | Mapping[str, Any]


class Setting(Record):
    """A key of a config, its value, and where that comes from."""

    __slots__ = ("key", "value", "toml", "origins")

    #: The dotted key, as ``docs/config.md`` has it.
    key: str
    #: Its value; ``None`` if it is not set. Durations and sizes are as somebody wrote them.
    value: Any
    #: The value as TOML on one line; ``None`` if it is not set.
    toml: str | None
    #: Files and lines, or words, that say where the value comes from.
    origins: tuple[str, ...]


class ConfigWarning(Record):
    """Something that the user should know about a config."""

    __slots__ = ("message", "hint")

    #: What it is.
    message: str
    #: What to do about it, where that is known.
    hint: str | None


def _overrides(given: Overrides) -> list[str]:
    if isinstance(given, str):
        raise TypeError(f"overrides are a list or a mapping, not a string: {given!r}")
    # Asking for the class would import it.
    if hasattr(given, "items"):
        return [f"{key}={_native.toml_text(value)}" for key, value in given.items()]
    return list(given)


class Config:
    """What the user wants: suite, architecture, archives, keyrings, packages, policies.

    Immutable: any number of threads and buildroots may use it. It is made by :meth:`load`,
    :meth:`default`, :meth:`from_file`, :meth:`from_toml` or :meth:`from_dict`. Each raises
    :class:`ConfigError` for an unknown name, a file that cannot be read, an unknown key or a wrong
    value, and :class:`UsageError` for an override that is none.

    ``config["build.jobs"]`` is the value of a key; ``docs/config.md`` describes all of them.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Config) -> None:
        if not isinstance(native, _native.Config):
            raise TypeError("make a config with Config.load() or its siblings")
        self._native = native

    @classmethod
    def default(cls, *, overrides: Overrides = ()) -> Config:
        """The config for this host: ``default.toml`` where somebody wrote one, else the host's own
        suite if it runs Debian or Ubuntu, else ``debian-stable``."""
        return cls(_native.Config.default(_overrides(overrides)))

    @classmethod
    def load(cls, name: str, *, overrides: Overrides = ()) -> Config:
        """A config by its name, such as ``debian-bookworm`` (:func:`configs` tells them all), or a
        file, if there is a slash in the name or it ends in ``.toml``."""
        return cls(_native.Config.load(name, _overrides(overrides)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, overrides: Overrides = ()) -> Config:
        """A config of a TOML file anywhere; its name is the file's without ``.toml``."""
        return cls(_native.Config.from_file(path, _overrides(overrides)))

    @classmethod
    def from_toml(cls, text: str, *, name: str = "custom", overrides: Overrides = ()) -> Config:
        """A config of TOML text."""
        return cls(_native.Config.from_toml(text, name, _overrides(overrides)))

    @classmethod
    def from_dict(
        cls, mapping: Mapping[str, Any], *, name: str = "custom", overrides: Overrides = ()
    ) -> Config:
        """A config of a mapping with the keys of a file. Values may be paths and ``timedelta``,
        too. ``{"extends": "debian-bookworm", …}`` builds on another config."""
        return cls(_native.Config.from_dict(mapping, name, _overrides(overrides)))

    @property
    def name(self) -> str:
        """Its name; that of its buildroots begins with it."""
        return self._native.name

    @property
    def distribution(self) -> str:
        """Who makes the archive: ``debian``, ``ubuntu`` or another."""
        return self._native.distribution

    @property
    def suite(self) -> str:
        """The suite's codename."""
        return self._native.suite

    @property
    def architecture(self) -> str:
        """Debian's name of the architecture of the root."""
        return self._native.architecture

    @property
    def warnings(self) -> tuple[ConfigWarning, ...]:
        """What the user should know about it and the host's configuration."""
        return tuple(
            ConfigWarning(message=message, hint=hint) for message, hint in self._native.warnings
        )

    @property
    def settings(self) -> dict[str, Setting]:
        """Every key, with its value and where that comes from; archives one by one
        (``archives.0``). Passwords are not in it."""
        settings = self._native.settings()
        return {
            setting["key"]: Setting(**{**setting, "origins": tuple(setting["origins"])})
            for setting in settings
        }

    def __getitem__(self, key: str) -> Any:
        return self.settings[key].value

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __repr__(self) -> str:
        return f"<debmock.Config {self.name!r}>"
