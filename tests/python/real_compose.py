"""The example composer: two small packages of Debian become an archive and an image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import debmock
import pytest
from conftest import until

COMPOSE = Path(__file__).parents[2] / "python" / "examples" / "compose.py"
SUITE = "bookworm-compose"
URI = "https://mirror.example.org/compose"
# the archive is the only one that apt knows here, and nothing of the root's own state is used
APT = """apt-get -q -o Dir::Etc::sourcelist=/srv/compose.list -o Dir::Etc::sourceparts=/nonexistent
 -o Dir::State::lists=/tmp/lists -o Dir::Cache=/tmp/cache -o Dir::Cache::archives=/tmp/archives
 -o APT::Update::Error-Mode=any"""
APT = " ".join(APT.split())
SET_UP = f"""
mkdir -p /tmp/lists/partial /tmp/cache /tmp/archives/partial
echo "deb [signed-by=$1] file:/srv/compose {SUITE} main" >/srv/compose.list
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with a store of its own in it."""
    place = Path(tempfile.mkdtemp(prefix="debmock-compose.", dir="/var/tmp"))
    yield place
    with buildroot(place, "end") as root:
        root.scrub(debmock.Scrub.ALL)
    shutil.rmtree(place)


def store(place: Path) -> dict[str, Path]:
    return {"cache_dir": place / "cache", "state_dir": place / "state"}


def buildroot(place: Path, name: str) -> debmock.Buildroot:
    directories = store(place)
    return debmock.Buildroot(
        "debian-bookworm",
        uniqueext=name,
        cache_dir=directories["cache_dir"],
        state_dir=directories["state_dir"],
    )


def start(place: Path, *words: str) -> subprocess.Popen[str]:
    """Runs the example."""
    directories = {f"DEBMOCK_{name.upper()}": str(path) for name, path in store(place).items()}
    return subprocess.Popen(
        [sys.executable, str(COMPOSE), "--suite", "bookworm", *words],
        cwd=place,
        env={**os.environ, **directories},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def composed(place: Path) -> Path:
    """What became of two packages, in versions that Debian does not have."""
    process = start(place, "--binnmu=1", f"--uri={URI}", "--output=out", "hello", "hostname")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert not (place / "out.partial").exists()
    return place / "out"


@pytest.fixture(scope="module")
def root(place: Path, composed: Path) -> Iterator[debmock.Session]:
    """A root of the suite with the archive in it."""
    with buildroot(place, "check") as root:
        with root.session() as session:
            session.copy_in(composed, "/srv/compose")
            yield session
        root.scrub(debmock.Scrub.CHROOT)


def apt(root: debmock.Session, line: str, key: str = "/srv/compose/archive-key.asc") -> str:
    """Runs a line of shell in which $APT is apt; raises if it fails. What it said."""
    done = root.run(
        ["sh", "-euc", SET_UP + line, "sh", key],
        env={"APT": APT, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        stderr=debmock.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout or ""


def test_apt_accepts_the_signature_and_installs(root: debmock.Session) -> None:
    said = apt(root, "$APT update; $APT install -y hello; dpkg-query -W hello; hello")
    assert "+b1" in said and "Hello, world!" in said
    assert "WARNING" not in said


def test_apt_refuses_another_key(root: debmock.Session) -> None:
    other = "/usr/share/keyrings/debian-archive-keyring.gpg"
    with pytest.raises(debmock.CommandError) as caught:
        apt(root, "rm -rf /tmp/lists; mkdir -p /tmp/lists/partial; $APT update 2>&1", other)
    assert caught.value.kind


def test_archive_has_all_that_was_built(composed: Path) -> None:
    index = (composed / "dists" / SUITE / "main" / "binary-amd64" / "Packages").read_text()
    named = [line.split()[1] for line in index.splitlines() if line.startswith("Filename: ")]
    built = [str(path.relative_to(composed)) for path in (composed / "pool").rglob("*.deb")]
    assert sorted(named) == sorted(built)
    assert {Path(name).name.partition("_")[0] for name in named} >= {"hello", "hostname"}


def test_no_secret_key_is_in_what_it_leaves(composed: Path) -> None:
    texts = [path for path in composed.rglob("*") if path.is_file() and path.suffix != ".zst"]
    assert not [path for path in texts if b"PRIVATE KEY" in path.read_bytes()]


def test_image_has_the_packages_from_this_archive(place: Path, composed: Path) -> None:
    with buildroot(place, "image") as root:
        root.import_(composed / "root.tar.zst")
        with root.session() as session:
            line = "hello; dpkg-query -W hello hostname; cat /etc/apt/sources.list"
            done = session.run(line, capture_output=True, text=True)
        root.scrub(debmock.Scrub.CHROOT)
    assert done.returncode == 0, done
    assert done.stdout is not None and done.stdout.count("+b1") == 2
    assert "file:" not in done.stdout and f"{URI} {SUITE} main" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["base: ", "hello: furnish ", "hello: build "])
def test_stops_and_leaves_nothing(place: Path, moment: str, number: signal.Signals) -> None:
    before = helpers()
    process = start(place, "--output", "stopped", "hello", "hostname", "ed")
    assert process.stdout is not None
    with process.stdout:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if moment in line:
                break
        else:
            pytest.fail(f"it ended before it came to {moment!r}: {seen}")
        process.send_signal(number)
        process.stdout.read()
    assert process.wait(timeout=10) == 130
    # What deletes the roots of the stopped builds goes on beside the work.
    until(lambda: helpers() <= before, "the helpers end", seconds=60)
    assert not list(place.glob("stopped*"))
    with buildroot(place, "end") as root:
        listing = root.list()
    assert [entry.name for entry in listing.buildroots if "compose" in entry.name] == []


def helpers() -> set[str]:
    """Processes of the helper of this package."""
    own = str(Path(debmock.__file__).parent / "_libexec" / "debmock-helper")
    found = set()
    for path in Path("/proc").glob("[0-9]*/exe"):
        try:
            if os.readlink(path) == own:
                found.add(path.parent.name)
        except OSError:
            continue
    return found
