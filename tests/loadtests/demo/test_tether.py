import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

Until = Callable[[Callable[[], object]], Awaitable[None]]
TETHER = (sys.executable, "-m", "loadtests.demo.tether")
# A parent that starts `sleep` on a tether, says its process id, and stays.
PARENT = """
import os, subprocess, sys, time
argv = [sys.executable, "-m", "loadtests.demo.tether", str(os.getpid()), sys.argv[1], "/bin/sleep", "600"]
print(subprocess.Popen(argv, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


def runs(pid: int, name: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return False
    return f"Name:\t{name}" in status and "State:\tZ" not in status


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_a_command_ends_with_the_parent_that_was_killed(signum: signal.Signals, until: Until) -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220  starts at once
        (sys.executable, "-c", PARENT, str(int(signum))), stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        await until(lambda: runs(child, "sleep"))
        parent.kill()
        parent.wait()
        await until(lambda: not runs(child, "sleep"))
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]


@pytest.mark.system
def test_a_parent_that_is_gone_already_starts_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    code = subprocess.run((*TETHER, "1", "9", "/bin/touch", str(mark)), check=False, timeout=30).returncode
    assert code == 1
    assert not mark.exists()


@pytest.mark.system
def test_the_commands_exit_code_is_kept() -> None:
    command = ("/bin/sh", "-c", "exit 7")
    assert subprocess.run((*TETHER, str(os.getpid()), "9", *command), check=False, timeout=30).returncode == 7


@pytest.mark.system
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("x", "9", "true"), 2, "usage"),
        (("1", "9"), 2, "usage"),
        ((str(os.getpid()), "9", "/no/such"), 1, "cannot run"),
    ],
)
def test_what_can_not_be_run_is_one_line(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = subprocess.run((*TETHER, *arguments), check=False, timeout=30, capture_output=True, text=True)
    assert result.returncode == code
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
