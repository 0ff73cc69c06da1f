#!/usr/bin/env python3
"""Composes a small distribution: builds source packages, each in a root of its own, and makes a
signed apt archive and a root image of what came out.

    compose.py --suite bookworm --output compose hello hostname

leaves in `compose`

    pool/               the packages that were built
    dists/SUITE/        their index, with Release and InRelease
    archive-key.asc     the public key that signed it
    root.tar.zst        a root with these packages installed, from this archive
    builds/NAME/        .changes, .buildinfo and logs of each build

The host needs Python and nothing else: apt-ftparchive and gpg run in a root, too. The directory
appears complete or not at all; after a failure OUTPUT.partial has the logs. Ctrl-C stops everything
at once and leaves nothing, with exit status 130.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import debmock

#: Where secret keys are while a root is open: in its memory, never on a disk.
KEYS = {"GNUPGHOME": "/dev/shm/keys"}

#: Run in /srv, where `pool` is, with suite and architecture.
INDEX = """
binary=dists/$1/main/binary-$2
mkdir -p "$binary"
apt-ftparchive packages pool >"$binary/Packages"
xz --keep "$binary/Packages"
apt-ftparchive \
  -o APT::FTPArchive::Release::Origin=compose -o APT::FTPArchive::Release::Label=compose \
  -o APT::FTPArchive::Release::Suite="$1" -o APT::FTPArchive::Release::Codename="$1" \
  -o APT::FTPArchive::Release::Architectures="$2" -o APT::FTPArchive::Release::Components=main \
  release "dists/$1" >Release
mv Release "dists/$1/Release"
gpg --batch --clearsign --digest-algo SHA512 --output "dists/$1/InRelease" "dists/$1/Release"
gpg --batch --detach-sign --armor --digest-algo SHA512 \
  --output "dists/$1/Release.gpg" "dists/$1/Release"
gpg --batch --armor --export >archive-key.asc
"""

#: A key for this compose only; its secret half goes with the session.
MAKE_KEY = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
MAKE_KEY += ["--quick-generate-key", "compose <compose@localhost>", "rsa3072", "sign", "never"]

#: The public key in the image.
KEY = "/usr/share/keyrings/compose.asc"

#: Puts a line, or nothing, in the place of the archive on this host.
SOURCES = """
sed -i '/ file:/d' /etc/apt/sources.list
[ -z "$1" ] || echo "$1" >>/etc/apt/sources.list
"""

OnEvent = Callable[[debmock.Event], None]


class Progress:
    """Lines about what happens, from any thread."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def say(self, who: str, what: str) -> None:
        """Print a line."""
        with self._lock:
            print(f"{time.monotonic() - self._start:7.1f} s  {who}: {what}", flush=True)

    def of(self, who: str) -> OnEvent:
        """A callback for the events of one piece of work."""

        def on_event(event: debmock.Event) -> None:
            match event:
                case debmock.StageStarted():
                    self.say(who, f"{event.stage} {event.detail}".rstrip())
                case debmock.StageFinished(success=False):
                    self.say(who, f"{event.stage} failed after {event.seconds:.1f} s")
                case debmock.Warning():
                    self.say(who, f"warning: {event.message}")
                case debmock.Waiting():
                    self.say(who, f"waits for {event.what}, held by {event.holder}")

        return on_event


class Compose:
    """One compose: its config, its directory, and what stops it."""

    def __init__(self, options: argparse.Namespace, place: Path) -> None:
        self.options = options
        self.place = place
        self.progress = Progress()
        self.cancel = debmock.CancelToken()
        name = options.config or f"debian-{options.suite}"
        self.config = debmock.Config.load(name)
        self.suite: str = options.name or f"{self.config.suite}-compose"

    @contextmanager
    def root(self, name: str, config: debmock.Config | None = None) -> Iterator[debmock.Buildroot]:
        """A buildroot of our own, which is gone afterwards."""
        extension = f"compose-{os.getpid()}-{name}"
        with debmock.Buildroot(config or self.config, uniqueext=extension) as root:
            try:
                yield root
            finally:
                root.scrub(debmock.Scrub.CHROOT)

    def run(self) -> None:
        """Do all of it. Raises what debmock raises; of several failed builds, the first one's."""
        # Three roots begin with the same layer, which one of them makes.
        with self.root("first") as root:
            root.init(on_event=self.progress.of("base"), cancel=self.cancel)
        packages = [path for result in self.builds() for path in result.packages]
        self.pool(packages)
        self.index()
        if not self.options.no_image:
            self.image(packages)

    def builds(self) -> list[debmock.BuildResult]:
        """Build every source, some at a time."""
        sources: list[str] = self.options.sources
        failed: list[debmock.Error] = []
        with ThreadPoolExecutor(self.options.parallel) as pool:
            futures: dict[Future[debmock.BuildResult], str] = {
                pool.submit(self.build, number, source): source
                for number, source in enumerate(sources)
            }
            try:
                for future in as_completed(futures):
                    error = future.exception()
                    if isinstance(error, debmock.Error):
                        self.progress.say(futures[future], f"failed: {error}")
                        failed.append(error)
                    elif error is not None:
                        raise error
            except BaseException:
                # Ctrl-C, among others: the builds end within a second, and the pool waits for that.
                self.cancel.cancel()
                pool.shutdown(cancel_futures=True)
                raise
        if failed:
            raise failed[0]
        return [future.result() for future in futures]

    def build(self, number: int, source: str) -> debmock.BuildResult:
        """Build one source in a session of its own."""
        name = Path(source).name.partition("=")[0].partition("_")[0]
        with self.root(str(number)) as root:
            result = root.rebuild(
                source,
                resultdir=self.place / "builds" / name,
                binnmu=self.options.binnmu,
                on_event=self.progress.of(name),
                cancel=self.cancel,
            )
        self.progress.say(name, f"built {result.version} in {result.seconds:.1f} s")
        return result

    def pool(self, packages: Sequence[Path]) -> None:
        """Move the packages to where an archive has them."""
        for path in packages:
            name = path.name
            folder = self.place / "pool" / "main" / (name[:4] if name.startswith("lib") else name[0])
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / name)

    def index(self) -> None:
        """Write and sign the index, in a root."""
        tell = self.progress.of("index")
        with self.root("index") as root, root.session(on_event=tell, cancel=self.cancel) as session:
            session.install(["apt-utils", "gpg", "gpg-agent"], on_event=tell, cancel=self.cancel)
            session.copy_in(self.place / "pool", "/srv/pool", cancel=self.cancel)

            def run(argv: list[str], given: bytes | None = None) -> None:
                session.run(
                    argv,
                    cwd="/srv",
                    env=KEYS,
                    input=given,
                    check=True,
                    capture_output=True,
                    cancel=self.cancel,
                )

            run(["mkdir", "--mode=700", KEYS["GNUPGHOME"]])
            if self.options.key:
                run(["gpg", "--batch", "--import"], self.options.key.read_bytes())
            else:
                run(MAKE_KEY)
            run(["sh", "-euc", INDEX, "sh", self.suite, self.config.architecture])
            for name in ("dists", "archive-key.asc"):
                session.copy_out(f"/srv/{name}", self.place / name, cancel=self.cancel)
        self.progress.say("index", f"signed {self.suite}")

    def image(self, packages: Sequence[Path]) -> None:
        """Install what was built into a root, from the archive and with its signature, and export
        that."""
        tell = self.progress.of("image")
        names = [path.name.partition("_")[0] for path in packages if path.suffix == ".deb"]
        wanted = self.options.image_package or [
            name for name in names if not name.endswith("-dbgsym")
        ]
        archive = {
            "uri": f"file:{self.place}",
            "suites": [self.suite],
            "components": ["main"],
            "signed_by": str(self.place / "archive-key.asc"),
        }
        config = debmock.Config.from_dict(
            {"extends": self.config.name, "archives_add": [archive]}, name="compose"
        )
        with self.root("image", config) as root:
            with root.session(on_event=tell, cancel=self.cancel) as session:
                # What was built here goes before Debian's own of the same version or a higher one.
                session.apt(
                    ["--allow-downgrades", "install"]
                    + [f"{name}/{self.suite}" for name in wanted],
                    on_event=tell,
                    cancel=self.cancel,
                )
                # where the archive is now is nothing to the image
                uri = self.options.uri
                line = f"deb [signed-by={KEY}] {uri} {self.suite} main" if uri else ""
                session.copy_in(self.place / "archive-key.asc", KEY, cancel=self.cancel)
                session.run(["sh", "-euc", SOURCES, "sh", line], check=True, cancel=self.cancel)
            root.export(self.place / "root.tar.zst", on_event=tell, cancel=self.cancel)
        self.progress.say("image", "written")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="NAME, NAME=VERSION or a .dsc")
    parser.add_argument("--suite", default="bookworm", help="to build for, of Debian")
    parser.add_argument("--config", help="to build with, instead of debian-SUITE")
    parser.add_argument("--name", help="suite of the new archive [default: SUITE-compose]")
    parser.add_argument("--output", type=Path, default=Path("compose"), help="must not exist")
    parser.add_argument("--parallel", "-j", type=int, default=3, help="builds at once [default: 3]")
    parser.add_argument(
        "--key", type=Path, help="secret key without passphrase [default: one for this compose]"
    )
    parser.add_argument(
        "--binnmu",
        type=int,
        help="build +bNUMBER: versions above those of the archive that the sources are from",
    )
    parser.add_argument(
        "--image-package",
        action="append",
        help="what the image has [default: all that was built, without debug symbols]",
    )
    parser.add_argument("--uri", help="where the archive will be, for apt in the image")
    parser.add_argument("--no-image", action="store_true", help="the archive only")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Compose; the exit status."""
    options = arguments(words)
    output = options.output.absolute()
    partial = output.with_name(f"{output.name}.partial")
    if output.exists():
        print(f"compose: {output} exists already", file=sys.stderr)
        return 5
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        Compose(options, partial).run()
        partial.rename(output)
    except KeyboardInterrupt:
        shutil.rmtree(partial, ignore_errors=True)
        print("compose: stopped", file=sys.stderr)
        return 130
    except debmock.Error as error:
        print(f"compose: {error}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
