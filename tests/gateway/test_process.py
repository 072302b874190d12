"""A real worker process as its supervisor sees it: from its start to its last words."""

import asyncio
import signal
import socket

import pytest

from gateway.core import messages as say
from gateway.core.lives import State
from gateway.process import WorkerProcess

pytestmark = pytest.mark.system


@pytest.fixture
async def process(stack):
    """A worker that waits for its configuration."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        worker = WorkerProcess(1, 0, [listener])
        heard: list[say.Message] = []
        await worker.open(lambda _, message: heard.append(message))
        waiting = asyncio.get_running_loop().create_task(worker.wait())
        yield worker, heard
        worker.kill()
        async with asyncio.timeout(60):
            await waiting
        worker.kill()  # harmless when it is gone


async def gone(worker: WorkerProcess) -> None:
    async with asyncio.timeout(60):
        await worker.gone.wait()
    assert worker.state is State.GONE
    assert worker.settled.is_set()
    assert worker.memory_bytes == 0


async def test_one_that_is_killed_is_gone_and_says_by_what(process) -> None:
    worker, heard = process
    assert (worker.state, worker.settled.is_set(), worker.slots) == (State.STARTING, False, 1)
    assert worker.memory_bytes > 0
    worker.kill()
    await gone(worker)
    assert worker.end == f"signal {signal.SIGKILL.name}"
    assert heard == []


async def test_one_whose_supervisor_says_nothing_more_ends_by_itself(process) -> None:
    worker, _ = process
    await worker.channel.close()
    await gone(worker)
    assert worker.end == "exit code 0"


async def test_what_it_says_last_is_heard_before_it_is_gone(process) -> None:
    worker, heard = process
    told = say.Configure(say.PROTOCOL, "0.0.1", 1, worker.listener_fds, b"{}", {}, {}, {}, b"\x90", ())
    worker.channel.send(told)
    await gone(worker)
    (failed,) = heard
    assert isinstance(failed, say.Failed)
    assert "its supervisor 0.0.1" in failed.cause
    assert worker.end == "exit code 1"
    worker.failure = failed
    assert worker.end == failed.cause
