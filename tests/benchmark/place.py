"""Users, and directories of their own in which tools work."""

import os
import pwd
import shutil
import subprocess

from . import Failure, measure
from .mirror import hidden

KEPT = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy")


class Place:
    """A directory of one user. What runs there has an empty home and a plain environment."""

    def __init__(self, base, user):
        self.user = user
        self.entry = pwd.getpwnam(user)
        self.path = os.path.join(base, user)
        # tools run as sub-ids of the user, which have to come through
        os.mkdir(self.path, 0o755)
        self.own(self.path)
        self.number = 0

    @property
    def is_root(self):
        return self.entry.pw_uid == 0

    def own(self, path):
        os.chown(path, self.entry.pw_uid, self.entry.pw_gid)

    def fresh(self):
        """A new empty directory."""
        self.number += 1
        path = os.path.join(self.path, str(self.number))
        os.mkdir(path, 0o755)
        self.own(path)
        return path

    def give(self, file, folder):
        """A copy of a file for the user."""
        path = shutil.copy(file, folder)
        self.own(path)
        return path

    def command(self, words):
        if self.is_root:
            return words
        ids = [f"--reuid={self.entry.pw_uid}", f"--regid={self.entry.pw_gid}"]
        return ["setpriv", *ids, "--init-groups", "--inh-caps=-all", "--", *words]

    def environment(self, work, **more):
        kept = {key: value for key, value in os.environ.items() if key.lower() in KEPT}
        return kept | {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": work, "USER": self.user, "LOGNAME": self.user, "TMPDIR": work,
            "SOURCE_DATE_EPOCH": "1750000000",
            "DEBMOCK_CACHE_DIR": f"{work}/cache", "DEBMOCK_STATE_DIR": f"{work}/state",
        } | more

    def run(self, words, work, output=None, weigh=True, environment=None, keep=()):
        """Runs a command of the user in a directory; its sample.

        Raises Failure when it fails.
        """
        given = environment or self.environment(work)
        sample, status, said = measure.run(self.command(words), given, work, output, weigh,
                                           keep)
        if status:
            raise Failure(f"{os.path.basename(words[0])} ended with {status}: "
                          f"{hidden(measure.gist(said))}")
        return sample

    def remove(self, path):
        """Files of sub-ids belong to nobody that a user may be; root removes all."""
        subprocess.run(["rm", "-rf", "--one-file-system", "--", path], check=True)
