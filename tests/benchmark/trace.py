"""Where the time of a run went by the stages that debmock reports."""

import collections
import json

# Whose time a stage's is. All others, and what lies between them, are debmock's own.
OTHERS = {
    "preinst": "maintainer scripts",
    "configure": "maintainer scripts",
    "apply": "debmock's unpacking, dpkg and maintainer scripts",
    "build": "dpkg-buildpackage",
    "fetch": "the mirror",
}
# Stages of the same name, in which programs inside the root work there.
IN_BUILDS = {"resolve": "apt in the root", "unpack": "dpkg-source"}
OURS = "debmock"


def stages(path, seconds):
    """Seconds by stage from the JSON events of one run, each without the stages in it, and what
    lies outside all of them."""
    own, stack, covered = collections.Counter(), [], 0.0
    with open(path) as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            kind = event.get("event")
            if kind == "stage_started":
                stack.append([event["stage"], 0.0])
            elif kind == "stage_finished" and any(event["stage"] == name for name, _ in stack):
                at = max(i for i, (name, _) in enumerate(stack) if name == event["stage"])
                name, inner = stack.pop(at)
                # what is done of it natively has stages of its own
                inside = "apply/" if any(outer == "apply" for outer, _ in stack[:at]) else ""
                own[inside + name] += max(0.0, event["seconds"] - inner)
                if at:
                    stack[at - 1][1] += event["seconds"]
                else:
                    covered += event["seconds"]
    own["start, end, between stages"] = max(0.0, seconds - covered)
    return dict(own)


def whose(stage, group):
    """Whose time a stage of a row of that group is."""
    if group == "build" and stage in IN_BUILDS:
        return IN_BUILDS[stage]
    return OTHERS.get(stage.removeprefix("apply/"), OURS)
