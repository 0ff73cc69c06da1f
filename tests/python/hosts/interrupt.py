"""Works until it is interrupted, and then builds something."""

import sys
from pathlib import Path

import debmock

config, cache, state, way, folder = sys.argv[1:]
out = Path(folder)
root = debmock.Buildroot(
    debmock.Config.from_file(config), uniqueext=f"int-{way}", cache_dir=cache, state_dir=state
)
told = False


def show(event: debmock.Event) -> None:
    global told
    if isinstance(event, debmock.LogLine) and event.text == "line" and not told:
        told = True
        print("working", flush=True)


LOOP = "while true; do echo line; sleep 0.05; done"

try:
    if way == "rebuild":
        root.rebuild("slow", resultdir=out / "slow", on_event=show)
    elif way == "result":
        with root.start_rebuild("slow", resultdir=out / "slow") as operation:
            operation.result(show)
    elif way == "iterate":
        with root.start_rebuild("slow", resultdir=out / "slow") as operation:
            for event in operation:
                show(event)
    elif way == "asyncio":
        import asyncio

        import debmock.aio

        loop_root = debmock.aio.Buildroot(
            root.config, uniqueext=f"int-{way}", cache_dir=cache, state_dir=state
        )
        asyncio.run(loop_root.rebuild("slow", resultdir=out / "slow", on_event=show))
    else:
        with root.session() as session:
            if way == "run":
                session.run(LOOP, on_event=show)
            else:
                with session.popen(["sleep", "600"], stdout=debmock.PIPE) as process:
                    print("working", flush=True)
                    process.wait() if way == "wait" else process.communicate()
except KeyboardInterrupt:
    print("interrupted", flush=True)
result = root.rebuild("good", resultdir=out / "good")
print("usable" if result.packages else "broken")
