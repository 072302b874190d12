"""The process between the supervisor and vLLM that leaves nothing behind. Runs alone, on the standard library.

    supervisor --(pipe: stdin)--> guard --> vLLM server --> engine core, workers, resource tracker

vLLM starts processes of its own, and a parent-death signal reaches only a direct child. So the guard adopts: as a
"child subreaper" it becomes the parent of every descendant whose parent dies. When the pipe from the supervisor ends
(the supervisor let go, or was killed with SIGKILL: the kernel closes the pipe either way) or the server exits, it kills
and reaps its children until there are none; those of a killed child have become its own by then, so none is missed.

The guard leads the process group, so the supervisor can signal all of them at once, and the server dies with the guard.
Exit status: the server's, or 128 + its signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> int:
    """Run `argv`, stay until it ends or stdin does, leave no descendant."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print("glidepath: cannot adopt processes (PR_SET_CHILD_SUBREAPER)", file=sys.stderr)  # noqa: T201  the log
        return 70
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    # Handlers, not SIG_IGN: an ignored signal would stay ignored in the server. A SIGTERM for the whole group is the
    # server's affair; the guard stays to clean up.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)

    def die_with_guard() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=die_with_guard)  # noqa: PLW1509  one thread only
    except OSError as error:
        print(f"glidepath: cannot start {argv[0]}: {error}", file=sys.stderr)  # noqa: T201  goes to the log
        return 71
    status = _watch(server.pid, wake_read)
    _sweep()
    return 128 + signal.SIGKILL if status is None else _exit_code(status)


def _watch(server: int, wake: int) -> int | None:
    """Wait for the server's end (its wait status) or for the end of stdin (None), reaping adopted children."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake:
                os.read(wake, 4096)
            elif not os.read(0, 4096):
                return None
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == server:
                    return status
                if pid == 0:
                    break


def _sweep() -> None:
    """Kill and reap children, and what they leave to us, until there are none."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):  # noqa: PTH208  light import
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123  light import
                # The command in brackets may hold anything, brackets and spaces too: count from its last bracket.
                if int(stat.read().rpartition(b")")[2].split()[1]) == me:
                    found.append(int(name))
    return found


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
