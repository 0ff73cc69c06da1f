"""The programs that debmock is compared with: where they are, of which version, how to get them.

Nothing is installed but by `prepare`.
"""

import os
import shutil
import subprocess

from . import Failure, machine

# one release, so that runs can be compared
RDEBOOTSTRAP = "0.4.0"
USER = "debmock-test"

# program: Debian package. What compiles rdebootstrap stands last.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "debootstrap": "debootstrap",
    "sbuild": "sbuild",
    "schroot": "schroot",
    "bwrap": "bubblewrap",
    "newuidmap": "uidmap",
    "newgidmap": "uidmap",
    "setpriv": "util-linux",
    "tar": "tar",
    "zstd": "zstd",
    "mkfs.ext4": "e2fsprogs",
    "/usr/lib/apt/apt-helper": "apt",
}
FOR_RDEBOOTSTRAP = ["libgpgme-dev", "libcurl4-openssl-dev", "pkgconf", "gcc"]
FOR_PLOTS = ["python3-matplotlib"]


def cache():
    """Where what `prepare` compiled is kept, with the outputs that the tests keep."""
    return os.environ.get("DEBMOCK_ORACLE_CACHE", "/var/cache/debmock-oracles")


def find(name):
    """The path of a tool, or None."""
    if name == "rdebootstrap":
        path = f"{cache()}/rdebootstrap-{RDEBOOTSTRAP}/bin/rdebootstrap"
        return path if os.access(path, os.X_OK) else None
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def need(name):
    """The path of a tool. Raises Failure with what brings it."""
    return find(name) or fail(name)


def fail(name):
    raise Failure(f"{name} is missing; tests/bench --prepare brings it")


def version(name):
    """The version of a tool, or None where it is missing."""
    path = find(name)
    if not path:
        return None
    if name == "rdebootstrap":
        return machine.said(path, "--version").split()[-1]
    return machine.said("dpkg-query", "-W", "-f", "${Version}", PACKAGES.get(name, name)) or "?"


def versions():
    """Versions of all tools that are here, by name."""
    names = ["mmdebstrap", "debootstrap", "rdebootstrap", "sbuild", "schroot", "bwrap", "apt",
             "dpkg", "tar", "zstd"]
    return {name: found for name in names if (found := version(name))}


def prepare(tell):
    """Installs what is missing, makes the user, compiles rdebootstrap. As root."""
    wanted = {package for name, package in PACKAGES.items() if not find(name)}
    wanted |= {package for package in FOR_PLOTS + FOR_RDEBOOTSTRAP if not installed(package)}
    if wanted:
        tell(f"installing {', '.join(sorted(wanted))}")
        call("apt-get", "-q", "update")
        call("apt-get", "-q", "install", "-y", "--no-install-recommends",
             "-o", "DPkg::Lock::Timeout=300", *sorted(wanted))
    make_user(tell)
    if not find("rdebootstrap"):
        if not shutil.which("cargo"):
            tell("rdebootstrap cannot be compiled: cargo is missing")
            return
        tell(f"compiling rdebootstrap {RDEBOOTSTRAP}, which takes minutes")
        call("cargo", "install", "--locked", "--root", f"{cache()}/rdebootstrap-{RDEBOOTSTRAP}",
             "--version", RDEBOOTSTRAP, "rdebootstrap")


def installed(package):
    said = machine.said("dpkg-query", "-W", "-f", "${db:Status-Status}", package)
    return said == "installed"


def make_user(tell):
    """The user of the tests, with 65536 sub-ids of both kinds."""
    if not machine.said("id", USER):
        tell(f"making user {USER}")
        call("useradd", "--create-home", "--shell", "/bin/bash", USER)
    if has_sub_ids(USER):
        return
    used = 100_000
    for file in ("/etc/subuid", "/etc/subgid"):
        if os.path.exists(file):
            with open(file) as lines:
                rows = [line.strip().split(":") for line in lines if line.count(":") == 2]
            used = max([used, *(int(first) + int(count) for _, first, count in rows)])
    span = f"{used}-{used + 65535}"
    call("usermod", "--add-subuids", span, "--add-subgids", span, USER)


def has_sub_ids(user):
    try:
        with open("/etc/subuid") as file:
            return any(line.startswith(f"{user}:") for line in file)
    except OSError:
        return False


def call(*words):
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if subprocess.run(words, env=environment).returncode:
        raise Failure(f"{' '.join(words)} failed")
