"""Compares debmock with the tools that do the same work today: run by tests/bench.

One noun a file: `rows` says what is compared and which ratio is the target, `bootstraps`,
`commands`, `builds`, `changes`, `crowd`, `transfers` and `python` measure them, `tools` finds what
they are compared with, `place` holds users and directories, `measure` runs, weighs and alternates,
`trace` tells where time went, `machine` and `mirror` what it ran on, `report` and `plot` write.
`library` is another program, run by the interpreter that has the module debmock.
"""


class Failure(Exception):
    """A sentence that says why something could not be measured."""
