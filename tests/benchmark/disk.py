"""A file system of its own for a run.

An ext4 without a journal passes over every inode that was deleted in the last minutes, one by one,
whenever it makes a file: whoever runs after somebody has deleted a tree takes several times as
long, and it is not their doing.
"""

import os
import re
import subprocess
import tempfile

from . import Failure, tools


def lacks_journal(path):
    """Whether a path is on an ext4 without a journal."""
    device = os.stat(path).st_dev
    name = os.path.basename(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    try:
        with open(f"/proc/fs/ext4/{name}/options") as file:
            return not re.search(r"^data=", file.read(), re.MULTILINE)
    except OSError:
        return False


def call(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise Failure(f"{words[0]} ended with {done.returncode}: {said}")


class Disk:
    """An ext4 with a journal of so many gigabytes, in a file below a directory; for `with`."""

    def __init__(self, parent, gigabytes):
        self.parent, self.bytes = parent, gigabytes * 10**9

    def __enter__(self):
        for name in ("mkfs.ext4", "mount", "umount"):
            tools.need(name)
        self.folder = tempfile.mkdtemp(prefix="debmock-bench-disk.", dir=self.parent)
        self.image = os.path.join(self.folder, "image")
        self.path = os.path.join(self.folder, "mounted")
        try:
            os.chmod(self.folder, 0o755)
            os.mkdir(self.path)
            with open(self.image, "wb") as file:
                file.truncate(self.bytes)
            # else the kernel goes on making the file system while something is measured
            call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                 self.image)
            call("mount", "-o", "loop", self.image, self.path)
        except BaseException:
            self._remove()
            raise
        os.chmod(self.path, 0o755)
        return self

    def __exit__(self, *_what):
        # a process of low priority may still be deleting
        done = subprocess.run(["umount", self.path], capture_output=True)
        if done.returncode:
            subprocess.run(["umount", "--lazy", self.path], check=False)
        self._remove()

    def _remove(self):
        if os.path.exists(self.image):
            os.remove(self.image)
        if os.path.isdir(self.path):
            os.rmdir(self.path)
        os.rmdir(self.folder)
