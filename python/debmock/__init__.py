"""Isolated Debian build environments."""

from debmock._native import __version__ as __version__
