"""What is counted: traps 7, 8 and 9."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import httpx2
import pytest

from tests.system.traps.caller import KEY, Line, chat, fault, over_lines
from tests.system.traps.conftest import World, at_once, until

pytestmark = pytest.mark.system


async def test_07_series_do_not_grow_with_callers(world: World) -> None:
    async def ask(line: Line, number: int) -> int:
        if number % 10 == 9:
            body = chat("hi") | {"model": f"copilot/model-{number}" if number % 20 == 9 else f"model-{number}"}
        else:
            body = chat("hi", user=f"user-{number}", metadata={"conversation_id": f"c-{number}"})
        headers = {"x-request-id": f"id-{number}", "x-conversation-id": f"conversation-{number}"}
        headers |= {"user-agent": f"agent-{number}", "x-stainless-retry-count": str(number % 100)}
        if number % 50 == 0:
            headers["authorization"] = f"Bearer gp-nobody-{number}"
        return (await line.ask(body, headers)).status

    await over_lines(world.url, range(200), ask)
    await until(lambda: world.total("glidepath_requests_total") == 200)
    before = set(world.samples())
    statuses = await over_lines(world.url, range(200, 10_200), ask)
    assert set(statuses) == {200, 401, 404}
    await until(lambda: world.total("glidepath_requests_total") == 10_200)
    assert set(world.samples()) == before
    assert not any(word in world.page() for word in ("user-", "model-", "agent-", "conversation-", "id-"))


async def test_08_metrics_of_three_workers_are_what_the_upstream_counted(own_world) -> None:
    world = own_world(workers=3)
    world.simulator.post("reset")
    ended = asyncio.Event()
    good = bad = 0

    async def call(number: int) -> None:
        """Ten requests a second at most, so that what a worker had not told yet is bounded on any machine."""
        nonlocal good, bad
        line = world.line()
        while not ended.is_set():
            try:
                answer = await line.ask(chat("count me", user=f"u{number}", stream=bool(number % 2)))
                assert answer.status == 200
                good += 1
            except (OSError, asyncio.IncompleteReadError):
                bad += 1
                line.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.1)
        line.close()

    async def replaced(before: list[int]) -> None:
        await until(lambda: not set(before) & set(world.workers()) and world.total("glidepath_workers", "ready") == 3)

    async with asyncio.TaskGroup() as group:
        for number in range(24):
            group.create_task(call(number))
        before = world.workers()
        world.gateway.process.send_signal(signal.SIGHUP)
        await replaced(before)
        assert bad == 0
        ended.set()
    await until(world.at_rest)
    completed = world.simulator.stats()["requests"]["completed"]
    await until(lambda: world.total("glidepath_requests_total", 'outcome="ok"') == completed)
    assert completed == good

    ended.clear()
    async with asyncio.TaskGroup() as group:
        for number in range(24):
            group.create_task(call(number))
        victim = world.workers()[0]
        os.kill(victim, signal.SIGKILL)
        await until(lambda: victim not in world.workers() and world.total("glidepath_workers", "ready") == 3)
        ended.set()
    await until(world.at_rest)
    await until(lambda: world.total("glidepath_requests_total", 'outcome="ok"') >= good - 48)
    assert bad <= 24
    assert world.total("glidepath_requests_total", 'outcome="ok"') <= good + bad
    assert world.gateway.stop() == 0


RESERVED = 64
PLACES = 8
# Each way a request can end: prompt, further fields and headers, and what it must be charged: "used", "reserved", 0.
ENDS = {
    "plain": (chat("hello"), {}, "used"),
    "stream": (chat("hello", stream=True), {}, "used"),
    "stream with usage": (chat("hello", stream=True, stream_options={"include_usage": True}), {}, "used"),
    "translated": (chat("hello", "claude"), {}, "used"),
    "translated stream": (chat("hello", "claude", stream=True), {}, "used"),
    "400": (chat(fault("status", status=400)), {}, 0),
    "429": (chat(fault("status", status=429)), {}, 0),
    "503": (chat(fault("status", status=503)), {}, 0),
    "reset": (chat(fault("reset")), {}, 0),
    "timeout": (chat(fault("black_hole")), {"x-glidepath-first-byte-timeout-s": "0.3"}, 0),
    "nobody there": (chat("hello", "nowhere"), {}, 0),
    "cut stream": (chat(fault("cut_stream") + "[[tokens:40]]", stream=True), {}, "reserved"),
    "error event": (chat(fault("error_event") + "[[tokens:40]]", stream=True), {}, "reserved"),
    "stalled": (chat(fault("stall") + "[[tokens:40]]", stream=True), {}, "reserved"),
}
LEAVES = {
    "left before the first byte": (chat(fault("slow_headers", delay_s=20), "patient"), False, 0),
    "left in the stream": (
        chat(fault("slow_body", delay_s=0.1) + "[[tokens:60]]", "patient", stream=True),
        True,
        "reserved",
    ),
}


class Customer:
    """A caller with a limited key, who watches what is left of it."""

    def __init__(self, world: World, key: str) -> None:
        self.world, self.key = world, key
        self.line = Line(world.url, key)

    async def left(self) -> int:
        """Remaining tokens, from an answer that takes none itself."""
        async with asyncio.timeout(30):
            while True:
                answer = await self.line.ask(chat(fault("status", status=400), max_tokens=RESERVED))
                if answer.status == 400:
                    return int(answer.headers["x-ratelimit-remaining-tokens"])
                assert answer.status == 429  # places are not leased yet
                await asyncio.sleep(0.1)

    async def charged(self, end: Callable[[], Awaitable[object]]) -> tuple[int, int]:
        """Tokens that one end took of the key, and that were counted; once more if the minute turned meanwhile."""
        for _ in range(2):
            counted, before = token_sum(self.world), await self.left()
            await end()
            taken = before - await self.left()
            if taken >= 0:
                break
        await asyncio.to_thread(self._told)
        return taken, int(token_sum(self.world) - counted)

    def _told(self) -> None:
        """The worker tells its counts in order: those of a later request come last."""
        settled = self.world.total("glidepath_requests_total")
        httpx2.post(f"{self.world.url}/v1/chat/completions", timeout=30)
        at_once(lambda: self.world.total("glidepath_requests_total") > settled)

    async def ask(self, body: dict[str, Any], headers: dict[str, str]) -> None:
        answer = await self.line.ask({**body, "max_tokens": RESERVED}, headers)
        assert answer.status != 429 or "key_" not in answer.error["message"]  # not the key's own limit

    async def leave(self, body: dict[str, Any], *, begun: bool) -> None:
        leaving = Line(self.world.url, self.key)
        await leaving.send({**body, "max_tokens": RESERVED})
        if begun:
            await leaving.head()
        else:
            await until(lambda: self.world.samples()["glidepath_requests_in_flight"] == 1)
        leaving.reset()


async def test_09_every_end_settles_tokens_and_places(own_world) -> None:
    world = own_world(workers=1)
    key = world.make_key(tokens_per_minute=10**9, concurrent_max=PLACES)
    customer = Customer(world, key)
    await customer.left()
    await customer.ask(chat("so that a new minute shows"), {})
    await until(lambda: token_sum(world) > 0)
    for name, (body, headers, wanted) in ENDS.items():
        taken, counted = await customer.charged(partial(customer.ask, body, headers))
        assert is_right(wanted, taken, counted), (name, taken, counted)
    for name, (body, begun, wanted) in LEAVES.items():
        taken, counted = await customer.charged(partial(customer.leave, body, begun=begun))
        assert is_right(wanted, taken, counted), (name, taken, counted)
    customer.line.close()
    await all_places(world, key)
    assert world.gateway.stop() == 0


async def all_places(world: World, key: str) -> None:
    """Use all places of a key at once: one lost on any way would be one too few for ever."""

    async def slow(line: Line, _: int) -> int:
        return (await line.ask(chat(fault("slow_headers", delay_s=0.5), "patient"))).status

    async with asyncio.timeout(60):
        while set(await over_lines(world.url, range(PLACES), slow, lines=PLACES, key=key)) != {200}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_09_a_key_with_one_place_is_not_refused_while_nothing_is_in_use(own_world) -> None:
    world = own_world(workers=1)
    key = world.make_key(concurrent_max=1)
    line = Line(world.url, key)
    statuses = set()
    for _ in range(1_500):
        answer = await line.ask(chat("one at a time"))
        statuses.add(answer.status)
        if statuses != {200}:
            break
        await asyncio.sleep(0.01)
    line.close()
    assert statuses == {200}


def is_right(wanted: object, charged: int, used: int) -> bool:
    if wanted == "reserved":
        return charged >= RESERVED
    return charged == used > 0 if wanted == "used" else charged == 0


def token_sum(world: World) -> float:
    return world.total("gen_ai_client_token_usage_sum")


async def test_09_no_tokens_of_streams_are_lost(world: World) -> None:
    """Each stream's usage is counted once, whether its caller asked for it or not."""
    await until(world.at_rest)
    before = world.total("gen_ai_client_token_usage_sum", 'token_type="output"')

    async def ask(line: Line, number: int) -> int:
        options = {"stream_options": {"include_usage": True}} if number % 2 else {}
        answer = await line.ask(chat(f"[[tokens:{number % 7 + 3}]] {number}", stream=True, **options))
        assert answer.done
        return number % 7 + 3

    wanted = sum(await over_lines(world.url, range(300), ask, key=KEY))
    await until(lambda: world.total("gen_ai_client_token_usage_sum", 'token_type="output"') == before + wanted)
