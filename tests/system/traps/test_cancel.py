"""Callers who leave: traps 1, 2, 11 and 19."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.system.traps.caller import Line, chat, fault, over_lines
from tests.system.traps.conftest import World, until

pytestmark = pytest.mark.system

SLOW_STREAM = fault("slow_body", delay_s=0.05) + "[[tokens:400]]"
LATE = fault("slow_headers", delay_s=30)
HALF = fault("slow_body", delay_s=8)
ESTABLISHED, CLOSE_WAIT = "01", "08"
MESSAGES = {"path": "/v1/messages"}


def message(prompt: str, feature: str) -> dict[str, object]:
    return chat(prompt, feature, max_tokens=400, stream=True)


PHASES = {
    "streaming": (chat(SLOW_STREAM, "patient", stream=True), {}, True),
    "streaming, translated": (chat(SLOW_STREAM, "claude", stream=True, max_tokens=400), {}, True),
    "streaming messages": (message(SLOW_STREAM, "claude"), MESSAGES, True),
    "streaming messages, translated": (message(SLOW_STREAM, "patient"), MESSAGES, True),
    "before the first token": (chat(LATE, "patient", stream=True), {}, False),
    "non-stream, before the head": (chat(LATE, "patient"), {}, False),
    "non-stream, in the body": (chat(HALF, "patient"), {}, False),
}


def aborts(world: World, request_id: str) -> list[dict[str, float]]:
    return [each for each in world.simulator.stats()["aborts"] if each["caller_id"] == request_id]


@pytest.mark.parametrize("leave", [Line.close, Line.reset])
@pytest.mark.parametrize("phase", PHASES)
async def test_01_the_upstream_sees_within_a_second_that_the_caller_left(world: World, phase: str, leave) -> None:
    body, where, begun = PHASES[phase]
    request_id = f"left {phase} {leave.__name__}".replace(" ", "-").replace(",", "")
    line = world.line()
    await line.send(body, {"x-request-id": request_id}, **where)
    if begun:
        assert (await line.head())[0] == 200
        await line.some()
    else:
        await until(lambda: world.simulator.tally(request_id)["arrived"])
    left_at_s = time.time()
    leave(line)
    await until(lambda: aborts(world, request_id))
    (abort,) = aborts(world, request_id)
    assert abort["at_s"] - left_at_s < 1.0
    await until(world.at_rest)
    logged = await world.logged(request_id)
    assert (logged["outcome"], logged["cause"]) == ("cancelled", "caller_gone")


async def test_01_who_leaves_before_a_retry_is_not_tried_for(world: World) -> None:
    line = world.line()
    body = chat(fault("status", status=503, retry_after_s=4), "flaky")
    await line.send(body, {"x-request-id": "left-waiting"})
    await until(lambda: world.simulator.tally("left-waiting")["completed"] == 1)
    line.close()
    await until(world.at_rest)
    assert world.simulator.tally("left-waiting")["arrived"] == 1
    assert (await world.logged("left-waiting"))["outcome"] == "cancelled"


async def test_01_who_leaves_with_another_request_in_the_pipeline_is_noticed(world: World) -> None:
    line = world.line()
    await line.send(PHASES["streaming"][0], {"x-request-id": "piped-1"})
    await line.send(chat("and then this"), {"x-request-id": "piped-2"})
    await line.head()
    left_at_s = time.time()
    line.reset()
    await until(lambda: aborts(world, "piped-1"))
    assert aborts(world, "piped-1")[0]["at_s"] - left_at_s < 1.0
    await until(world.at_rest)
    assert world.simulator.tally("piped-2")["arrived"] == 0


async def test_02_a_thousand_random_cancels_leave_nothing_held(world: World) -> None:
    draw = random.Random(2)
    places = 48
    key = world.make_key(concurrent_max=places, tokens_per_minute=10**9, requests_per_minute=10**6)
    prompts = [
        (SLOW_STREAM, "patient", True),
        (SLOW_STREAM, "claude", True),
        (LATE, "patient", False),
        (LATE, "narrow", True),
        (SLOW_STREAM, "narrow", True),
        (fault("status", status=503), "flaky", True),
        (fault("black_hole"), "nowhere", False),
        (fault("cut_stream", events=2), "summarize", True),
        ("all at once", "summarize", True),
    ]
    left = 0

    async def ask_and_leave(line: Line, number: int) -> None:
        nonlocal left
        prompt, feature, stream = draw.choice(prompts)
        await line.send(chat(f"{prompt} {number}", feature, stream=stream, max_tokens=400))
        try:
            async with asyncio.timeout(draw.random() * 0.06):
                await line.answer()
        except TimeoutError:
            left += 1
            draw.choice([line.close, line.reset])()

    await over_lines(world.url, range(1_000), ask_and_leave, lines=40, key=key)
    assert left > 300
    await until(world.at_rest)

    async def once_more(line: Line, number: int) -> int:
        return (await line.ask(chat(fault("slow_headers", delay_s=0.3) + str(number), "patient"))).status

    # The key's places are free again; how they are spread over the workers may need another round.
    async with asyncio.timeout(30):
        while set(await over_lines(world.url, range(36), once_more, lines=36, key=key)) != {200}:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


def resident_kb(world: World) -> int:
    statuses = [Path(f"/proc/{pid}/status").read_text("ascii") for pid in world.workers()]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in statuses)


async def test_11_abandoned_streams_leave_no_sockets_and_no_memory(world: World) -> None:
    draw = random.Random(11)

    async def maybe_abandon(line: Line, number: int) -> None:
        await line.send(chat(f"{fault('slow_body', delay_s=0.0005)}[[tokens:120]] {number}", "patient", stream=True))
        if draw.random() < 0.3:
            await line.head()
            await line.some()
            draw.choice([line.close, line.reset])()
        else:
            assert (await line.answer()).done

    async def round_of(count: int) -> tuple[int, int]:
        await over_lines(world.url, range(count), maybe_abandon, lines=24)
        await until(world.at_rest)
        return world.sockets(), resident_kb(world)

    await round_of(300)
    sockets, memory_kb = await round_of(300)
    sockets_later, memory_later_kb = await round_of(1_200)
    # What may stay are idle upstream connections, as many as were ever used at once.
    assert sockets_later <= sockets + 48
    # A record for feedback stays of each answer; a leaked stream would be ten times that.
    assert memory_later_kb - memory_kb < 1_200 * 6


def held_of(world: World, ports: set[int]) -> list[int]:
    """Bytes that wait in each of the gateway's connections from these ports of callers."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    own = int(world.url.rpartition(":")[2])
    return [
        int(queues.partition(":")[2], 16)
        for _, local, remote, state, queues, *_ in rows
        if _port(local) == own and _port(remote) in ports and state in {ESTABLISHED, CLOSE_WAIT}
    ]


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


async def test_19_nothing_between_a_caller_and_the_apps_routes_hides_who_left(world: World) -> None:
    lines = [world.line() for _ in range(60)]
    for number, line in enumerate(lines):
        path = ("/v1/feedback", "/v1/models", "/v1/chat/completions")[number % 3]
        await line.send(b'{"request_id":', {"content-length": "4000"}, path=path)
    ports = {line.writer.get_extra_info("sockname")[1] for line in lines}
    await until(lambda: held_of(world, ports) == [0] * len(lines))  # all of it has been read
    for number, line in enumerate(lines):
        (line.close, line.reset)[number % 2]()
    await until(lambda: not held_of(world, ports))
    assert world.gateway.stderr == ""
