"""The command line: ``debmock …`` and ``python -m debmock …``."""

from __future__ import annotations

import os
import signal
import sys

from debmock import _native


def main() -> int:
    """Run the command line of this process; its exit status.

    For a process that is nothing but this command: signals are taken over. Programs use the rest
    of the package.
    """
    # Closed standard streams would be given to the next files that are opened.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # A second Ctrl-C ends the process at once, which Python's own handler would not.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _native.command_line(sys.argv[1:], signals=True)


if __name__ == "__main__":
    sys.exit(main())
