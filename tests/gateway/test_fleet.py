"""The lives of real worker processes. What callers notice of it is in tests/system/test_workers.py."""

import asyncio
import os
import signal
from importlib.metadata import version
from pathlib import Path

import httpx2
import msgspec
import pytest

from gateway.core import messages as say
from gateway.core.lives import RestartPolicy, State
from gateway.fleet import Configuration, Fleet
from gateway.listeners import Listeners, url_of
from gateway.process import WorkerProcess
from gateway.settings import parse
from gateway.start_error import StartError

pytestmark = pytest.mark.system

POLICY = RestartPolicy(first_wait_s=0.01, longest_wait_s=0.01, deaths_max=3, settling_s=0.0)
DEADLINE_S = 60.0


async def eventually(condition) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  processes bring it about
            await asyncio.sleep(0.02)


class Told:
    """What new workers are told; `build` can be made wrong, so that they can't start."""

    def __init__(self) -> None:
        self.build = version("glidepath")

    def given(self, configuration: Configuration, worker: WorkerProcess) -> say.Configure:
        return say.Configure(
            protocol=say.PROTOCOL,
            build=self.build,
            number=worker.number,
            listeners=worker.listener_fds,
            settings=configuration.settings.model_dump_json(exclude={"server": {"memory_max_mb"}}).encode(),
            api_keys={},
            proxy_credentials={},
            judge_keys={},
            key_records=msgspec.msgpack.encode([]),
            kills=("draft",),
        )


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def fleet(tmp_path: Path, stack, told: Told):
    async def start(workers: int = 1, **server: object) -> Fleet:
        sections = {
            "server": {"port": 0, "workers": workers, **server},
            "admin": {"port": 0},
            "store": {"url": f"sqlite:///{tmp_path}/store.db", "state_dir": str(tmp_path)},
        }
        configuration = Configuration(parse(sections, source="test"), {}, {}, {})
        listeners = Listeners(configuration.settings)
        stack.callback(listeners.close)
        fleet = Fleet(configuration, listeners, told.given, POLICY)
        fleet.url, fleet.stack = url_of(listeners.public[0]), stack
        stack.push_async_callback(fleet.kill)
        await fleet.spawn()
        return fleet

    return start


def ready(fleet: Fleet) -> list[int]:
    return [each.number for each in fleet.board.among(State.READY)]


async def test_all_workers_accept_and_end_when_told(fleet) -> None:
    running = await fleet(2)
    assert running.unready() == "no worker is ready"
    await running.start()
    assert running.unready() is None
    assert [each.accepts for each in running.board.lines.values()] == [(0,), (1,)]
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{running.url}/healthz")).status_code == 200
    await running.drain(0, 5)
    assert running.unready() == "draining"
    assert running.board.lines == {}


async def connected(fleet: Fleet, *lines: str) -> asyncio.StreamReader:
    """Where the answer to a request will come."""
    url = httpx2.URL(fleet.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    fleet.stack.callback(writer.close)
    writer.write("\r\n".join(["GET /healthz HTTP/1.1", "host: gateway", *lines, "", ""]).encode())
    return reader


async def test_a_busy_worker_answers_whom_it_accepts_in_the_turn_in_which_it_is_told_to_end(fleet) -> None:
    """No connection makes it wait, and no successor is there yet to be quicker."""
    running = await fleet(1)
    await running.start()
    (worker,) = running.board.lines.values()
    async with asyncio.timeout(DEADLINE_S):
        assert await (await connected(running, "connection: close")).read()
        os.kill(worker.process.pid, signal.SIGSTOP)
        await eventually(lambda: "State:\tT" in Path(f"/proc/{worker.process.pid}/status").read_text("ascii"))
        worker.drain(say.Drain(0.0, DEADLINE_S, replaced=True))
        caller = await connected(running)
        os.kill(worker.process.pid, signal.SIGCONT)
        head = await caller.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in head


async def test_a_worker_that_cannot_start_says_why(fleet, told: Told) -> None:
    told.build = "another"
    running = await fleet()
    with pytest.raises(StartError, match="its supervisor another") as caught:
        await running.start()
    assert "restart it" in caught.value.hint


async def test_a_worker_that_dies_before_it_is_told_anything_ends_the_start(fleet) -> None:
    running = await fleet(2)
    first, _ = running.board.lines.values()
    os.kill(first.process.pid, signal.SIGKILL)
    await eventually(lambda: first.number not in running.board.lines)
    with pytest.raises(StartError, match="a worker can't start"):
        await running.start()
    assert running.restarts["died"] == 0


async def test_while_a_worker_is_missing_another_accepts_for_it(fleet) -> None:
    running = await fleet(2)
    await running.start()
    first, second = running.board.lines.values()
    os.kill(first.process.pid, signal.SIGKILL)
    await eventually(lambda: second.accepts == (0, 1))
    await eventually(lambda: len(ready(running)) == 2)
    assert second.accepts == (1,)
    assert running.restarts["died"] == 1


async def test_when_none_can_be_kept_alive_there_is_an_error_that_says_why(fleet, told: Told) -> None:
    running = await fleet()
    await running.start()
    told.build = "another"
    os.kill(next(iter(running.board.lines.values())).process.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        error = await running.hopeless
    assert "3 in a row" in error.cause
    assert "its supervisor another" in error.cause


async def test_a_successor_that_cannot_start_replaces_nobody(fleet, told: Told, caplog) -> None:
    running = await fleet()
    await running.start()
    told.build = "another"
    more = running.configuration.settings.server.model_copy(update={"workers": 2})
    wanted = Configuration(running.configuration.settings.model_copy(update={"server": more}), {}, {}, {})
    before = running.configuration
    await running.reload(wanted)
    assert ready(running) == [1]
    assert running.configuration is before
    assert "hint: the installation was changed" in caplog.text


async def test_a_worker_that_has_grown_too_large_is_replaced(fleet) -> None:
    running = await fleet(memory_max_mb=128)
    await running.start()
    await running.replace_too_large()
    assert ready(running) == [1], "a fresh worker is smaller than that"
    server = running.configuration.settings.server.model_copy(update={"memory_max_mb": 1})
    running.configuration = Configuration(
        running.configuration.settings.model_copy(update={"server": server}), {}, {}, {}
    )
    await running.replace_too_large()
    assert ready(running) == [2]
    assert running.restarts["memory"] == 1
    await eventually(lambda: list(running.board.lines) == [2])


async def test_workers_hold_the_kills_they_are_told_and_read_the_store_when_asked(fleet) -> None:
    running = await fleet()
    await running.start()
    ((number, answer),) = await running.board.ask(say.CatchUp(()))
    assert (number, answer) == (1, say.CaughtUp(0))
    await running.board.collect()
    (worker,) = running.board.lines.values()
    assert {reading.name: reading.series for reading in worker.readings}["glidepath_snapshot_version"] == (((), 0.0),)
    assert worker.memory_bytes > 1 << 20
