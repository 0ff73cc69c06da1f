"""Debian's archive as the host's apt has it. Its address is for the tools, not for reports."""

import hashlib
import lzma
import os
import re
import subprocess
import tempfile

from . import Failure
from .rows import SUITE

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def hidden(text):
    """A text without the hosts that it names."""
    return re.sub(r"\b([a-z+]+)://[^/\s'\"]+", r"\1://…", text)


class Mirror:
    """The archives of the suite: its own, its updates, its security updates."""

    def __init__(self):
        form = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)"
        said = subprocess.run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
                              check=True, capture_output=True, text=True).stdout
        rows = [line.split("|") for line in said.splitlines()]
        debian = [row for row in rows if row[0] == "Debian"]
        main = next((row[1] for row in debian if "-" not in row[2]), None)
        security = next((row[1] for row in debian if row[2].endswith("-security")), None)
        if not main or not security:
            raise Failure("apt has no index of Debian and its security archive: run apt-get update")
        # some tools put their own slash behind it
        self.main, self.security = main.rstrip("/"), security.rstrip("/")
        self.archives = [(self.main, SUITE), (self.main, f"{SUITE}-updates"),
                         (self.security, f"{SUITE}-security")]

    def lines(self):
        """Lines of sources.list(5); a mirror may be frozen."""
        options = f"[signed-by={KEYRING} check-valid-until=no check-date=no]"
        return [f"deb {options} {uri} {suite} main" for uri, suite in self.archives]

    def fetch(self, path, file):
        """Fetches a path below the suite's own archive, with the host's apt and its proxies."""
        done = subprocess.run(["/usr/lib/apt/apt-helper", "download-file", f"{self.main}/{path}",
                               file], capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"{path} cannot be fetched: {hidden(done.stderr.strip()[-300:])}")

    def source(self, name, folder):
        """The files of a source package into a folder; the path of its .dsc."""
        with tempfile.TemporaryDirectory() as work:
            packed = os.path.join(work, "Sources.xz")
            self.fetch(f"dists/{SUITE}/main/source/Sources.xz", packed)
            with lzma.open(packed, "rt", encoding="utf-8") as file:
                stanzas = file.read().split("\n\n")
        stanza = next((text for text in stanzas if text.startswith(f"Package: {name}\n")), None)
        if stanza is None:
            raise Failure(f"{SUITE} has no source package {name}")
        below = re.search(r"^Directory: (.*)$", stanza, re.MULTILINE).group(1)
        hashes = re.search(r"^Checksums-Sha256:\n((?: .*\n?)+)", stanza, re.MULTILINE).group(1)
        dsc = None
        for line in hashes.splitlines():
            wanted, _, file = line.split()
            path = os.path.join(folder, file)
            self.fetch(f"{below}/{file}", path)
            with open(path, "rb") as content:
                if hashlib.sha256(content.read()).hexdigest() != wanted:
                    raise Failure(f"{file} is not what the archive's Sources says")
            dsc = path if file.endswith(".dsc") else dsc
        return dsc
