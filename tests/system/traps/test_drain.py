"""Probes under load, and ends that cost nobody an answer: traps 17 and 18."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from tests.system.traps.caller import Line, chat, fault
from tests.system.traps.conftest import World, until

pytestmark = pytest.mark.system

LINES = 48


class Load:
    """Callers that ask all the while, streams and not, until told to end or until the gateway isn't ready."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.ok = 0
        self.failures: list[str] = []
        self.ended = False

    async def _call(self, number: int) -> None:
        line = Line(self._world.url)
        body = chat(f"[[tokens:20]] {number}", "patient", stream=bool(number % 2))
        while not self.ended:
            try:
                answer = await line.ask(body)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(repr(error))
                line.close()
                continue
            if answer.status == 200 and answer.whole and (answer.done or not number % 2):
                self.ok += 1
            else:
                self.failures.append(f"{answer.status} {answer.body[-200:]!r}")
        line.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        async with asyncio.TaskGroup() as group:
            for number in range(LINES):
                group.create_task(self._call(number))
            await until(lambda: self.ok > LINES)
            try:
                yield self
            finally:
                self.ended = True


async def test_17_probes_answer_under_full_load(world: World) -> None:
    probes = [f"{base}/{probe}" for base in (world.url, world.admin_url) for probe in ("healthz", "readyz")]
    async with Load(world).running() as load, httpx2.AsyncClient(timeout=2) as client:
        before = load.ok
        for _ in range(15):
            answers = await asyncio.gather(*(client.get(probe) for probe in probes))
            assert {answer.status_code for answer in answers} == {200}
        assert load.ok > before
    assert load.failures == []


async def test_17_a_dead_upstream_makes_neither_probe_fail(world: World) -> None:
    lines = [world.line() for _ in range(64)]
    for line in lines:
        await line.send(chat(fault("black_hole"), "patient"))
    await until(lambda: world.samples()["glidepath_requests_in_flight"] == len(lines))
    async with httpx2.AsyncClient(timeout=5) as client:
        for base in (world.url, world.admin_url):
            assert (await client.get(f"{base}/healthz")).status_code == 200
            assert (await client.get(f"{base}/readyz")).status_code == 200
    for line in lines:
        line.reset()
    await until(world.at_rest)


async def test_18_on_sigterm_who_heeds_readiness_loses_nothing(own_world) -> None:
    world = own_world(server="drain_grace_s = 8\n")

    def probe(name: str) -> int:
        return httpx2.get(f"{world.admin_url}/{name}", timeout=30).status_code

    async with Load(world).running() as load:
        world.gateway.process.terminate()
        await until(lambda: probe("readyz") == 503)
        load.ended = True
        assert await asyncio.to_thread(probe, "healthz") == 200
    assert load.failures == []
    assert await asyncio.to_thread(world.gateway.end) == 0
    assert world.gateway.stderr == ""


async def test_18_a_stream_without_end_is_told_so_and_the_drain_is_bounded(own_world) -> None:
    world = own_world(server="drain_grace_s = 0\ndrain_s = 8\n")
    long, short, silent = world.line(), world.line(), world.line()
    await long.send(chat(fault("slow_body", delay_s=0.1) + "[[tokens:9000]]", "patient", stream=True))
    await silent.send(chat(fault("black_hole"), "patient"))
    await until(lambda: world.samples()["glidepath_requests_in_flight"] == 2)
    body = chat(fault("slow_body", delay_s=0.1) + "[[tokens:30]]", "patient", stream=True)
    await short.send(body, {"x-request-id": "short"})
    await until(lambda: world.simulator.tally("short")["arrived"])
    began_s = time.monotonic()
    world.gateway.process.terminate()
    assert (await short.answer()).done
    answer = await long.answer()
    assert answer.in_band_error
    assert not answer.done
    refused = await silent.answer()
    assert (refused.status, refused.error["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert await asyncio.to_thread(world.gateway.end) == 0
    assert time.monotonic() - began_s < 8 + 10
    for line in (long, short, silent):
        line.close()
