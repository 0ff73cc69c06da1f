"""A day's work, and what is different in this process afterwards.

``manners.py CONFIG CACHE STATE FOLDER [ignore-sigchld] [forks]`` prints a line for each difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

import debmock
import debmock.aio

config_file, cache, state, folder, *ways = sys.argv[1:]
out = Path(folder)
libc = ctypes.CDLL(None, use_errno=True)
libc.getenv.restype = ctypes.c_char_p


def prctl(what: int) -> int:
    value = ctypes.c_int(-1)
    libc.prctl(what, ctypes.byref(value), 0, 0, 0)
    return value.value


def read(name: str) -> str:
    return Path("/proc/self", name).read_text()


def names(folder: str) -> dict[str, str]:
    found = {}
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # the one that listed
            found[name] = os.readlink(f"{folder}/{name}")
    return found


def status() -> dict[str, str]:
    """What status says that belongs to the process, not to its use of memory and time."""
    wanted = {"Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Threads", "TracerPid"}
    pairs = (line.split(":", 1) for line in read("status").splitlines())
    return {
        name: value.strip()
        for name, value in pairs
        if name in wanted or name.startswith(("Sig", "Shd", "Cap", "Cpus", "Mems"))
        if name not in ("SigQ", "SigPnd", "ShdPnd")
    }


def children() -> list[str]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):
            found += Path(f"/proc/self/task/{task}/children").read_text().split()
    return found


def look() -> dict[str, object]:
    gc.collect()
    # The kernel takes a moment to forget a thread that was joined.
    end = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    return {
        "cwd": os.getcwd(),
        "environment": dict(os.environb),
        "environment of C": {name: libc.getenv(name) for name in os.environb},
        "status": status(),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "wakeup descriptor": wakeup(),
        "ids": (os.getresuid(), os.getresgid(), os.getgroups(), os.getsid(0), os.getpgrp()),
        "namespaces": names("/proc/self/ns"),
        "descriptors": names("/proc/self/fd"),
        "threads": sorted(os.listdir("/proc/self/task")),
        "python threads": [thread.name for thread in threading.enumerate()],
        "children": children(),
        "limits": read("limits"),
        "mounts": read("mountinfo"),
        "cgroup": read("cgroup"),
        "oom": read("oom_score_adj"),
        "name": read("comm"),
        "subreaper": prctl(37),
        "death signal": prctl(2),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": os.sched_getaffinity(0),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
    }


def wakeup() -> int:
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number)
    return number


def is_line(event: debmock.Event) -> bool:
    return isinstance(event, debmock.LogLine) and event.text == "line"


def day() -> None:
    config = debmock.Config.from_file(config_file)
    token = debmock.CancelToken()
    options = {"cache_dir": cache, "state_dir": state}
    with debmock.Buildroot(config, uniqueext="day", **options) as root:
        root.init()
        assert root.rebuild("good", resultdir=out / "good").packages
        try:
            root.rebuild("bad", resultdir=out / "bad")
        except debmock.BuildError:
            pass
        try:
            root.rebuild(
                "slow",
                resultdir=out / "slow",
                cancel=token,
                on_event=lambda event: token.cancel() if is_line(event) else None,
            )
        except debmock.Cancelled:
            pass
        with root.session() as session:
            session.install(["greeting"])
            session.run(["cat"], input="x", capture_output=True)
            session.popen(["cat"], stdin=debmock.PIPE, stdout=debmock.PIPE).communicate(b"x")
            with session.popen("read x", terminal=True) as process:
                process.terminal.write(b"x\n")
                process.wait()
            forgotten = session.popen(["sleep", "600"], stdin=debmock.PIPE)
            forgotten.close()
            session.copy_in(config_file, "/srv/")
        root.export(out / "root.tar")
        root.list()
        root.scrub("chroot")
    debmock.doctor()
    asyncio.run(day_in_a_loop(config, options))


async def day_in_a_loop(config: debmock.Config, options: dict[str, str]) -> None:
    async with debmock.aio.Buildroot(config, uniqueext="day-aio", **options) as root:
        await root.rebuild("good", resultdir=out / "aio")
        task = asyncio.create_task(root.rebuild("slow", resultdir=out / "aio-slow"))
        await asyncio.sleep(0.5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with root.session() as session:
            await session.run("true")
        await root.scrub("chroot")


class Forks:
    """Another thread of the host that forks all the time."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        while not self.ended.wait(0.002):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored
                os.waitpid(pid, 0)
            self.count += 1

    def __enter__(self) -> Forks:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        assert self.count > 10


os.chdir("/")
os.umask(0o077)
os.environ["MANNERS"] = "mine"
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
if "ignore-sigchld" in ways:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
# What Python and asyncio make once and for all is theirs, and so is the handler that the C library
# installs with the first thread of a process (SIGSETXID, nptl(7)).
asyncio.run(asyncio.sleep(0))
thread = threading.Thread()
thread.start()
thread.join()
before = look()
with Forks() if "forks" in ways else contextlib.nullcontext():
    day()
after = look()
for name in before:
    if before[name] != after[name]:
        print(f"{name}: {before[name]} became {after[name]}")
try:
    print("a child is left:", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("the same")
