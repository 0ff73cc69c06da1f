"""Enums whose members are words, as the command line and JSON have them."""

from __future__ import annotations

import enum


class Choice(str, enum.Enum):
    """A word: equal to its text, and printed as it."""

    def __str__(self) -> str:
        return str(self.value)


class Scrub(Choice):
    """What :meth:`Buildroot.scrub` removes."""

    #: All of these.
    ALL = "all"
    #: The buildroot.
    CHROOT = "chroot"
    #: Layers that no buildroot stands on.
    LAYERS = "layers"
    #: Downloaded packages and sources.
    DEBS = "debs"
    #: Downloaded indexes.
    LISTS = "lists"


class Compression(Choice):
    """How an archive of a root is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class ExportForm(Choice):
    """What an export makes."""

    #: One archive of the whole root.
    TAR = "tar"
    #: A directory with an OCI image layout.
    OCI = "oci"
    #: A tar archive of an OCI image layout, as ``podman load`` takes it.
    OCI_ARCHIVE = "oci-archive"
    #: The root itself; for users everything in it is their own.
    DIRECTORY = "directory"


class CleanupAfter(Choice):
    """When a build's directory and dependencies are removed from the root."""

    ALWAYS = "always"
    #: After a build that succeeded.
    SUCCESS = "success"
    NEVER = "never"


class Status(Choice):
    """How a build ended."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    CANCELLED = "cancelled"
