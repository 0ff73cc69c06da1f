"""What objects say in a forked child, and that the parent goes on.

``forked.py CONFIG CACHE STATE FOLDER``, or with a number of seconds as the folder: opens a session
in which a program sleeps that long, forks a child that sleeps, too, tells its number and waits.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from pathlib import Path

import debmock

config_file, cache, state, folder = sys.argv[1:]
root = debmock.Buildroot(
    debmock.Config.from_file(config_file), uniqueext="forked", cache_dir=cache, state_dir=state
)
session = root.session()


def is_line(event: debmock.Event) -> bool:
    return isinstance(event, debmock.LogLine) and event.text == "line"


def sleeper() -> None:
    process = session.popen(["sleep", folder])
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    print(child, flush=True)
    while process.poll() is None:
        signal.pause()


def in_child(operation: debmock.Operation[None], process: debmock.Process[bytes]) -> None:
    calls = [
        root.init,
        root.exists,
        root.start_init,
        root.list,
        lambda: session.run("true"),
        lambda: session.popen(["true"]),
        lambda: session.copy_out("/etc/passwd", folder),
        operation.result,
        operation.cancel,
        operation.fileno,
        lambda: operation.next_event(0),
        process.poll,
        process.wait,
        process.kill,
        process.fileno,
    ]
    for number, call in enumerate(calls):
        try:
            call()
        except debmock.ForkedError as error:
            assert error.hint, number
        else:
            raise AssertionError(f"call {number} was not refused")
    process.close()
    session.close()
    root.close()
    # A child may work for itself.
    with debmock.Buildroot(root.config, uniqueext="own", cache_dir=cache, state_dir=state) as own:
        with own.session() as inner:
            assert inner.run("exit 3").returncode == 3


def main() -> None:
    global session, root
    process = session.popen(["cat"], stdin=debmock.PIPE, stdout=debmock.PIPE)
    operation = session.start_run("while true; do echo line; sleep 0.01; done")
    for event in operation:
        if is_line(event):
            break
    child = os.fork()
    if child == 0:
        status = 1
        try:
            in_child(operation, process)
            del operation, process
            session = root = None
            gc.collect()
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    assert any(is_line(event) for event in operation)
    operation.cancel()
    try:
        operation.result()
    except debmock.Cancelled:
        pass
    assert process.communicate(b"still here")[0] == b"still here"
    process.close()
    session.close()
    assert root.rebuild("good", resultdir=Path(folder) / "good").packages
    print("ok")


if folder.isdigit():
    sleeper()
else:
    main()
