"""Who is served by which arm, and whom that is credited to; retries: traps 13, 24 and 25."""

import asyncio
import time

import httpx2
import openai
import pytest

from tests.system.traps.caller import KEY, Answer, Line, chat, fault, over_lines
from tests.system.traps.conftest import LOGGED, World, config, until

pytestmark = pytest.mark.system

CONVERSATIONS = [f"conversation-{number}" for number in range(200)]
RATED = 'feature="summarize",kind="rating"'


async def assigned(world: World) -> dict[str, str]:
    async def ask(line: Line, conversation: str) -> str:
        answer = await line.ask(chat("who are you?"), {"x-conversation-id": conversation})
        return answer.headers["x-glidepath-assigned"]

    return dict(zip(CONVERSATIONS, await over_lines(world.url, CONVERSATIONS, ask), strict=True))


async def test_13_the_order_of_the_configuration_changes_no_assignment(world: World) -> None:
    world.set_share("summarize", 30_000)
    await settled_share(world, 0.3)
    before = await assigned(world)
    assert 30 < list(before.values()).count("candidate") < 90
    workers = set(world.workers())
    world.configure(config(world.simulator.url, LOGGED, backwards=True))
    await until(lambda: not workers & set(world.workers()) and world.total("glidepath_workers", "ready") == 2)
    assert await assigned(world) == before
    world.set_share("summarize", 0)


async def settled_share(world: World, share: float) -> None:
    """Wait until every worker has what the store has."""
    version = httpx2.get(
        f"{world.admin_url}/api/v1/features", headers={"authorization": f"Bearer {KEY}"}, timeout=30
    ).json()["version"]
    await until(lambda: world.samples()["glidepath_snapshot_version"] >= version)
    assert world.samples()['glidepath_share_ratio{feature="summarize"}'] == share


async def test_13_all_workers_see_a_share_change_within_a_second(world: World) -> None:
    world.set_share("summarize", 0)
    await settled_share(world, 0)
    ended = asyncio.Event()
    seen: list[tuple[float, str]] = []

    async def keep_asking(number: int) -> None:
        line = world.line()
        while not ended.is_set():
            began_s = time.monotonic()
            answer = await line.ask(chat(f"share {number}"))
            seen.append((began_s, answer.headers["x-glidepath-assigned"]))
            await asyncio.sleep(0.01)
        line.close()

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(keep_asking(number))
        await asyncio.to_thread(world.set_share, "summarize", 100_000)
        changed_s = time.monotonic()
        await asyncio.sleep(1.5)
        ended.set()
    late = [arm for began_s, arm in seen if began_s > changed_s + 1.0]
    assert late
    assert set(late) == {"candidate"}
    world.set_share("summarize", 0)


async def test_24_feedback_counts_once_for_the_assigned_arm_and_silence_is_none(world: World) -> None:
    world.set_share("summarize", 100_000)
    await settled_share(world, 1)
    before = {arm: units(world, arm) for arm in ("candidate", "baseline")}

    async def ask(line: Line, number: int) -> Answer:
        # The candidate fails, the baseline answers in its place.
        return await line.ask(chat(f"{fault('status', status=503, model='inhouse-sim')} {number}"))

    async def rate(line: Line, request_id: str) -> int:
        for rating in (1, 1, -1):
            answer = await line.ask({"request_id": request_id, "rating": rating}, path="/v1/feedback")
        return answer.status

    answers = await over_lines(world.url, range(20), ask, lines=4)
    assert {answer.headers["x-glidepath-arm"] for answer in answers} == {"baseline"}
    assert {answer.headers["x-glidepath-assigned"] for answer in answers} == {"candidate"}
    rated = [answer.headers["x-request-id"] for answer in answers[:12]]
    assert set(await over_lines(world.url, rated, rate, lines=6)) == {200}
    candidate = f'glidepath_quality_score_units{{arm="candidate",{RATED}}}'
    await until(lambda: world.samples().get(candidate) == before["candidate"] + 12)
    assert world.samples()[f'glidepath_quality_score_sum{{arm="candidate",{RATED}}}'] == 0
    assert units(world, "baseline") == before["baseline"]
    world.set_share("summarize", 0)
    await settled_share(world, 0)


def units(world: World, arm: str) -> float:
    return world.samples().get(f'glidepath_quality_score_units{{arm="{arm}",{RATED}}}', 0.0)


def sdk(world: World) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key=KEY, max_retries=3, timeout=30)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
@pytest.mark.parametrize("feature", ["flaky", "summarize"])
async def test_25_retries_of_sdk_and_gateway_are_bounded_and_told(world: World, feature: str, status: int) -> None:
    request_id = f"storm-{feature}-{status}"
    body = chat(fault("status", status=status), feature)
    async with sdk(world) as client:
        with pytest.raises(openai.APIStatusError):
            await client.chat.completions.create(**body, extra_headers={"x-request-id": request_id})
    arrived = world.simulator.tally(request_id)["arrived"]
    # Either the gateway tries again (and says that nobody else need), or the SDK does.
    assert arrived == (2 if feature == "flaky" and status != 429 else 4)


async def test_25_who_retries_already_is_not_retried_for(world: World) -> None:
    before = world.total("glidepath_client_retries_total")
    line = world.line()
    for count, arrived in ((0, 2), (1, 1), (2, 1)):
        request_id = f"count-{count}"
        headers = {"x-request-id": request_id, "x-stainless-retry-count": str(count)}
        answer = await line.ask(chat(fault("status", status=500), "flaky"), headers)
        assert answer.status == 502
        assert answer.headers.get("x-should-retry") == ("false" if arrived == 2 else None)
        assert world.simulator.tally(request_id)["arrived"] == arrived
    line.close()
    await until(lambda: world.total("glidepath_client_retries_total") == before + 2)


async def test_25_a_storm_gets_a_bounded_share_of_extra_attempts(world: World) -> None:
    world.simulator.post("reset")

    async def ask(line: Line, number: int) -> int:
        return (await line.ask(chat(f"{fault('status', status=503)} {number}", "flaky"))).status

    assert set(await over_lines(world.url, range(300), ask, lines=30)) == {503}
    arrived = world.simulator.stats()["requests"]["started"]
    # Of each worker ten to begin with, then one for five requests.
    assert 300 < arrived <= 300 + 10 * len(world.workers()) + 300 // 5 + 1
