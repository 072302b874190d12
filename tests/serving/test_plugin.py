"""The vLLM plugin, in processes started as vLLM starts its own: by multiprocessing's spawn."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from serving.command import PLUGIN
from tests.serving.conftest import Family

pytestmark = pytest.mark.system

ENGINE = """
import multiprocessing, sys, time
def engine():
    import glidepath_engine
    glidepath_engine.register()
    print("registered", flush=True)
    time.sleep(600)
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=engine)
    child.start()
    child.join()
"""


def test_an_engine_follows_its_killed_server(family: Family, tmp_path: object, eventually: Callable[..., None]) -> None:
    script = os.path.join(str(tmp_path), "server.py")  # noqa: PTH118  a path for argv
    with open(script, "w") as file:  # noqa: PTH123
        file.write(ENGINE)
    env = {**family.env, "PYTHONPATH": str(PLUGIN)}
    with subprocess.Popen([sys.executable, script], env=env, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"registered\n"
        assert len(family.pids()) > 1
        os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: family.pids() == set())


def test_the_server_itself_is_left_alone() -> None:
    code = "import threading, glidepath_engine as g; g.register(); raise SystemExit(threading.active_count() - 1)"
    env = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    assert multiprocessing.parent_process() is None
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
