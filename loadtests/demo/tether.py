"""Runs a command that ends when the process that asked for it ends, in whatever way that ends.

`python -m loadtests.demo.tether PARENT_PID SIGNAL COMMAND...` asks the kernel for SIGNAL at the parent's death and
becomes COMMAND. The kernel watches the parent's *thread*: start it from one that lives as long as the process.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_USAGE = 2


def main(argv: list[str]) -> int:
    """Become the command; returns only if that can't be done."""
    if len(argv) < 3 or not (argv[0].isdigit() and argv[1].isdigit()):  # noqa: PLR2004  two numbers and a command
        sys.stderr.write("usage: tether PARENT_PID SIGNAL COMMAND...\n")
        return _USAGE
    parent, signum, command = int(argv[0]), int(argv[1]), argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    # The parent may have died before the kernel was asked; then nobody waits for the command.
    if os.getppid() != parent:
        return 1
    try:
        os.execv(command[0], command)  # noqa: S606  becoming the command is the point
    except OSError as error:
        sys.stderr.write(f"glidepath: cannot run {command[0]}: {error.strerror}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
