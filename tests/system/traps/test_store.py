"""The store: a black-holed Redis, and budgets that several workers spend from: traps 6 and 10."""

import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.traps.caller import Answer, Line, chat, over_lines
from tests.system.traps.conftest import World, at_once, until

pytestmark = pytest.mark.system


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    if shutil.which("redis-server") is None:
        cause = "redis-server is not installed: the black-holed store DID NOT RUN"
        pytest.fail(cause) if os.environ.get("CI") else pytest.skip(cause)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    at_once(answers)
    yield f"redis://127.0.0.1:{port}/0", process
    process.kill()
    process.wait()


async def test_06_a_black_holed_redis_delays_no_request_and_recovery_is_automatic(own_world, redis) -> None:
    url, process = redis
    world = own_world(f'[store]\nurl = "{url}"\n')
    key = world.make_key(requests_per_minute=100_000, tokens_per_minute=10**9, concurrent_max=100)

    async def timed(line: Line, number: int) -> tuple[int, float]:
        began_s = time.monotonic()
        answer = await line.ask(chat(f"timed {number}"))
        return answer.status, time.monotonic() - began_s

    async def some(which: str) -> list[float]:
        found = await over_lines(world.url, range(300), timed, lines=4, key=which)
        assert {status for status, _ in found} == {200}
        return [elapsed_s for _, elapsed_s in found]

    usual = statistics.median(await some(key))
    process.send_signal(signal.SIGSTOP)
    try:
        await until(lambda: world.samples()["glidepath_quota_store_down"] == 1)
        for _ in range(3):
            elapsed = await some(key)
            # Every wait for the store would be a second: none is among 300.
            assert max(elapsed) < 0.9
            assert statistics.median(elapsed) < max(0.05, 10 * usual)
        for path in ("/healthz", "/readyz"):
            (answer,) = await over_lines(world.url, [path], lambda line, at: line.ask(None, path=at, method="GET"))
            assert answer.status == 200
        assert world.samples()["glidepath_snapshot_age_seconds"] > 1
    finally:
        process.send_signal(signal.SIGCONT)
    await until(lambda: world.samples()["glidepath_quota_store_down"] == 0)
    await asyncio.to_thread(world.set_share, "summarize", 100_000)

    async def assigned(line: Line, number: int) -> str:
        return (await line.ask(chat(f"after {number}"))).headers["x-glidepath-assigned"]

    async with asyncio.timeout(30):
        while set(await over_lines(world.url, range(12), assigned, lines=12)) != {"candidate"}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert world.gateway.stop() == 0


PRICE_MICROUSD = 1_000
TOKENS = 10
COST = PRICE_MICROUSD * TOKENS
CALLS = 64


async def test_10_parallel_calls_overshoot_a_budget_by_one_reservation_at_most(world: World) -> None:
    key = world.make_key(budget_microusd_per_day=COST * CALLS)

    async def spend(line: Line, number: int) -> Answer:
        return await line.ask(chat(f"[[tokens:{TOKENS}]] {number}", "priced", max_tokens=TOKENS))

    async def spent(calls: int, lines: int) -> int:
        answers = await over_lines(world.url, range(calls), spend, lines=lines, key=key)
        refused = [answer for answer in answers if answer.status != 200]
        assert all((answer.status, int(answer.headers["retry-after"]) >= 1) == (429, True) for answer in refused)
        assert all(answer.json["usage"]["completion_tokens"] == TOKENS for answer in answers if answer.status == 200)
        return calls - len(refused)

    total = 0
    async with asyncio.timeout(60):
        while total < CALLS * 3 // 4:
            total += await spent(8, 2)
            await asyncio.sleep(0.05)
    for _ in range(10):
        total += await spent(200, 50)
        await asyncio.sleep(0.3)
    assert CALLS * 3 // 4 < total <= CALLS + 1
    (answer,) = await over_lines(world.url, [0], spend, key=key)
    assert (answer.status, answer.error["type"]) == (429, "insufficient_quota")
