import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from serving import guard
from tests.serving.conftest import Family

pytestmark = pytest.mark.system

SLEEP = "import time; time.sleep(600)"
# A child that outlives its parent, in a session of its own: what a signal to the process group never reaches.
STRAY = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"


def start(family: Family, *argv: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", guard.__file__, *argv]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=family.env
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 4)", 132),
    ],
)
def test_the_status_is_the_servers(family: Family, code: str, status: int) -> None:
    with start(family, sys.executable, "-c", code) as process:
        assert process.wait(timeout=60) == status


def test_a_server_that_cannot_be_started_is_said_in_the_log(family: Family) -> None:
    with start(family, "/nonexistent/python") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 71
    assert b"cannot start /nonexistent/python" in output


def test_what_the_server_leaves_behind_is_killed(family: Family) -> None:
    with start(family, sys.executable, "-c", STRAY) as process:
        assert process.wait(timeout=60) == 0
    assert family.pids() == set()


def test_the_end_of_stdin_ends_everything(family: Family, eventually: Callable[..., None]) -> None:
    with start(family, sys.executable, "-c", f"{STRAY}; {SLEEP}") as process:
        eventually(lambda: len(family.pids()) == 3)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 137
    assert family.pids() == set()


def test_sigterm_is_the_servers_affair(family: Family, eventually: Callable[..., None]) -> None:
    server = "import signal; signal.signal(15, lambda *_: exit(5)); print('up', flush=True); signal.pause()"
    with start(family, sys.executable, "-c", server) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        eventually(lambda: len(family.pids()) == 2)
        (pid,) = set(family.pids()) - {process.pid}
        os.kill(pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 5


def test_the_server_dies_with_a_killed_guard(family: Family, eventually: Callable[..., None]) -> None:
    with start(family, sys.executable, "-c", "print('up', flush=True); " + SLEEP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
    eventually(lambda: family.pids() == set())
