"""What a run ran on, for its report: nothing in it names a host."""

import datetime
import os
import re
import subprocess


def said(*words, cwd=None):
    """What a program prints, without the end of the line; nothing if it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=cwd)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def first(pattern, path):
    """The first group of a pattern in a file of the kernel."""
    try:
        with open(path) as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1).strip() if found else ""


def disk(path):
    """Filesystem and kind of disk below a path, such as `ext4 on a virtual disk`."""
    kind, source = (said("findmnt", "-nT", path, "-o", "FSTYPE,SOURCE").split() + ["", ""])[:2]
    name = os.path.basename(os.path.realpath(source.split("[")[0])) if source else ""
    node = f"/sys/class/block/{name}"
    if os.path.exists(f"{node}/partition"):
        name = os.path.basename(os.path.dirname(os.path.realpath(node)))
    spins = first(r"(\d)", f"/sys/class/block/{name}/queue/rotational")
    if name.startswith("vd") or name.startswith("xvd"):
        what = "a virtual disk"
    elif name.startswith("nvme"):
        what = "NVMe"
    else:
        what = {"0": "a solid-state disk", "1": "a disk that spins"}.get(spins, "no disk")
    return f"{kind or 'a filesystem'} on {what}"


def load():
    """Load of the last minute: a run on a busy machine says little."""
    return round(os.getloadavg()[0], 1)


def facts(folder, clone):
    """Names and values, in the order of the report."""
    commit = said("git", "rev-parse", "--short=12", "HEAD", cwd=clone) or "not from git"
    changed = said("git", "status", "--porcelain", "--untracked-files=no", "--", ".",
                   ":!docs/benchmarks", cwd=clone)
    memory = int(first(r"MemTotal:\s+(\d+)", "/proc/meminfo") or 0)
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit + (" with changes" if changed else ""),
        "kernel": os.uname().release,
        "system": first(r'PRETTY_NAME="([^"]*)"', "/etc/os-release"),
        "processor": first(r"model name\s*:\s*(.*)", "/proc/cpuinfo") or os.uname().machine,
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{memory / 1024 / 1024:.1f} GiB",
        "disk": disk(folder),
        "load at the start": load(),
    }
