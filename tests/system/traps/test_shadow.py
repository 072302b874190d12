"""Shadow calls in real processes: whatever the other arm does, callers and counters see nothing of it: invariant 15."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.core.audit import record_change
from rollout.core.model import BUCKETS, Kill, Shadow
from tests.system.traps.caller import DEADLINE_S, Answer, Line, chat, over_lines
from tests.system.traps.conftest import World, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.system

COUNT = 30
# What differs between two answers to one question: ids and the time.
OWN = re.compile(rb'"(?:id|created)":\s*(?:"[^"]*"|\d+)')
TROUBLES: dict[str, dict[str, Any]] = {
    "resets": {"kind": "reset"},
    "never answers": {"kind": "black_hole"},
    "is slow": {"kind": "slow_body", "delay_s": 0.2},
    "talks nonsense": {"kind": "garbage"},
    "fails": {"kind": "status", "status": 500},
    "stalls": {"kind": "stall"},
    "says too much": {"kind": "huge_answer", "size_bytes": 4 << 20},
}


async def change(world: World, feature: str, **changes: Any) -> None:
    """Change a flag in the store, and wait until all workers have it."""
    store = SqliteStore(world.folder / "glidepath-data" / "glidepath.db")
    try:
        before = await store.get(feature)
        assert before is not None
        after = msgspec.structs.replace(before, **changes)
        entry = record_change(before, after, actor="test", command="apply", reason="a trap", at_s=time.time())
        await store.put_if_revision(after, before.revision, entry)
        version = await store.version()
    finally:
        await store.close()
    await until(lambda: world.samples()["glidepath_snapshot_version"] >= version)


@asynccontextmanager
async def shadowed(world: World, feature: str, **limits: int) -> AsyncIterator[None]:
    """Every request of the feature has a shadow meanwhile; afterwards nothing of them is left."""
    figures = {"daily_budget": 10_000, "max_concurrent": 64, **limits}
    await change(world, feature, shadow=Shadow(millipct=BUCKETS, **figures))
    try:
        await first_one(world, feature)
        yield
    finally:
        await change(world, feature, shadow=Shadow(), kill=Kill())
        world.simulator.faults()
    await until(world.at_rest)


async def first_one(world: World, feature: str) -> None:
    """Ask until one was sampled: workers have the document, and see at their next turn what it says of shadows."""
    before = calls(world, feature) + skipped(world, feature)
    line = world.line()

    def sampled() -> bool:
        in_flight = world.simulator.stats()["requests"]["in_flight"]
        return bool(in_flight) or calls(world, feature) + skipped(world, feature) > before

    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(sampled):
            await line.ask(chat("sampled?", feature))
            await asyncio.sleep(0.05)
    line.close()


def calls(world: World, feature: str) -> float:
    return world.total("glidepath_shadow_calls_total", f'feature="{feature}"')


def skipped(world: World, feature: str) -> float:
    return world.total("glidepath_shadow_skipped_total", f'feature="{feature}"')


def of_requests(world: World) -> dict[str, float]:
    """All that requests are counted by, less what depends on time, and less the shadows' own."""
    own = ("glidepath_requests_total", "glidepath_units_total", "glidepath_failovers", "glidepath_retries")
    counted = (*own, "glidepath_refusals", "glidepath_endpoint_state", "gen_ai_client_token_usage_sum")
    return {name: value for name, value in world.samples().items() if name.startswith(counted)}


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items() if value != before.get(name, 0.0)}


async def answers(world: World, feature: str, prefix: str) -> list[tuple[int, dict[str, str], bytes]]:
    async def ask(line: Line, number: int) -> tuple[int, dict[str, str], bytes]:
        body = chat(f"question {number}", feature, stream=bool(number % 2), user=f"u{number}")
        answer: Answer = await line.ask(body, {"x-request-id": f"{prefix}-{number}"})
        headers = {name: text for name, text in answer.headers.items() if name.startswith(("x-glidepath", "content-t"))}
        # Its revision moves with the sample.
        headers.pop("x-glidepath-flag-version")
        return answer.status, headers, OWN.sub(b"", answer.body)

    return await over_lines(world.url, range(COUNT), ask, lines=6)


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_whatever_the_other_arm_does_nobody_sees_anything_of_it(world: World, trouble: str) -> None:
    world.simulator.faults({**TROUBLES[trouble], "model": "inhouse-sim"})
    start = of_requests(world)
    without = await answers(world, "strict", f"{trouble}-without".replace(" ", "-"))
    assert {status for status, _, _ in without} == {200}
    await until(world.at_rest)
    between = of_requests(world)
    called = calls(world, "strict")
    async with shadowed(world, "strict"):
        begun = of_requests(world)
        assert await answers(world, "strict", f"{trouble}-with".replace(" ", "-")) == without
        assert moved(begun, of_requests(world)) == moved(start, between)
    await until(lambda: calls(world, "strict") > called)


async def test_one_that_cannot_be_reached_is_no_concern_of_callers(world: World) -> None:
    await change(world, "nowhere", share_millipct=BUCKETS)
    async with shadowed(world, "nowhere"):
        assert {
            (status, headers["x-glidepath-arm"]) for status, headers, _ in await answers(world, "nowhere", "n")
        } == {(200, "candidate")}
        await until(lambda: world.total("glidepath_shadow_calls_total", 'feature="nowhere"', 'end="unreachable"') > 0)


async def test_a_kill_lets_no_shadow_reach_the_candidate(world: World) -> None:
    async with shadowed(world, "patient"):
        await answers(world, "patient", "before-kill")
        await until(lambda: any(world.simulator.tally(f"before-kill-{number}-shadow") for number in range(COUNT)))
        await change(world, "patient", kill=Kill(on=True, actor="test", reason="a trap"))
        assert {headers["x-glidepath-reason"] for _, headers, _ in await answers(world, "patient", "killed")} == {
            "KILLED"
        }
        await until(world.at_rest)
    assert not any(sum(world.simulator.tally(f"killed-{number}-shadow").values()) for number in range(COUNT))


async def test_two_workers_share_one_budget(world: World) -> None:
    async with shadowed(world, "vllm", daily_budget=8):
        for turn in range(4):
            await answers(world, "vllm", f"budget-{turn}")
            await asyncio.sleep(0.5)
        # In the first turn the workers may not have known yet.
        await until(lambda: calls(world, "vllm") + skipped(world, "vllm") >= 3 * COUNT)
        assert world.total("glidepath_shadow_skipped_total", 'feature="vllm"', 'reason="budget"') > 0
    assert 1 <= calls(world, "vllm") <= 8
