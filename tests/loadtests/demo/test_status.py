"""The command is a real process; the gateway it asks is not there."""

import os
import signal
import time
from pathlib import Path

import pytest

from loadtests.demo.child import Child, Command
from loadtests.demo.ports import free_ports
from loadtests.demo.status import Asked, status_arguments, status_of

pytestmark = pytest.mark.system


async def test_the_exit_code_and_the_words_are_kept(tmp_path: Path) -> None:
    access = {"GLIDEPATH_ADMIN_URL": f"http://127.0.0.1:{free_ports().admin}", "GLIDEPATH_API_KEY": "k"}
    arguments = (*status_arguments("draft")[:3], "--timeout", "0s")
    command = Command("status", arguments, dict(os.environ) | access, signal.SIGKILL, 5.0)
    child = Child(command, tmp_path / "status.log")
    answer = await status_of(Asked("draft", child, time.perf_counter()))
    assert (answer.feature, answer.exit_code) == ("draft", 5)
    assert answer.said
    assert answer.lasted_s > 0
