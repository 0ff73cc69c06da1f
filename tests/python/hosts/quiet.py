"""Does things that have warnings, with logging imported and not configured."""

import logging
import sys

import debmock

config = debmock.Config.from_file(
    sys.argv[1], overrides={"limits.memory": "1G", "limits.required": False}
)
with debmock.Buildroot(
    config, uniqueext="quiet", cache_dir=sys.argv[2], state_dir=sys.argv[3]
) as root:
    events: list[debmock.Event] = []
    with root.session(on_event=events.append) as session:
        session.run("echo out; echo err >&2")
    assert any(isinstance(event, debmock.Warning) for event in events), events
assert logging.getLogger().handlers == []
