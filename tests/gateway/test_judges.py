"""Which judge gets which pair, what they are made of, and that callers notice none of it."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from gateway.core.admission.leasing import Leasing
from gateway.core.judging.prompt import RUBRIC
from gateway.core.judging.score import Miss
from gateway.core.shadowing import CallEnd
from gateway.judges import RUBRIC_MAX_CHARS, build_judges, read_rubric
from gateway.metrics import Metrics
from gateway.settings import Settings, SettingsError
from gateway.settings.judges import JudgeSettings
from gateway.tenants import Tenants
from rollout.core.model import BUCKETS, Shadow
from tests.gateway.bench import completion, pair, prefers_ours, start_bench, start_judge, verdict
from tests.gateway.shadows import CHAT, never, said, start_world

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = {"url": "http://127.0.0.1:9/v1", "model": "m"}


@pytest.fixture
def bench(stack):
    return partial(start_bench, stack)


@pytest.mark.parametrize(("judge", "missed"), [("", {}), ("nobody", {Miss.UNKNOWN_JUDGE: 1})])
async def test_a_pair_that_is_no_judges_goes_nowhere(bench, unused_port: int, judge: str, missed: dict) -> None:
    here = bench(unused_port, judge=judge)
    assert here.judges.take(pair()) == 0
    assert (here.judge.counts, here.missed) == ((0, 0), missed)
    assert here.judges.take(pair(feature="unknown")) == 0
    assert here.missed == missed


async def test_a_judge_that_is_down_holds_up_nobody_elses_pairs(upstream, bench, wire) -> None:
    stuck, well = await upstream(never), await upstream(wire.plain(completion(verdict("tie"))))
    other = {"k": {"url": f"http://127.0.0.1:{well.port}/v1", "model": "m"}}
    first = {"j": {"url": f"http://127.0.0.1:{stuck.port}/v1", "model": "m", "timeout_s": 600, "concurrent": 1}}
    here = bench(stuck.port, {"judges": {**first, **other}})
    for number in range(3):
        here.judges.take(pair(number))
    here.flag(judge="k")
    here.judges.take(pair(3))

    async def judged() -> None:
        while not here.scores:
            await here.judges.turn()
            await here.turn()

    # What the flag doesn't name any more is withdrawn at its turn; the one under way goes on.
    async with asyncio.timeout(60):
        await judged()
    assert [each.judge for each in here.scores] == ["k"]


async def test_a_full_queue_loses_the_oldest_and_says_so(bench, unused_port: int) -> None:
    here = bench(unused_port)
    assert sum(here.judges.take(pair(number)) for number in range(300)) == 300 - 256


async def test_they_are_looked_after_until_cancelled(upstream, bench, wire, until) -> None:
    server = await upstream(wire.plain(completion(verdict("tie"))))
    here = bench(server.port)
    running = [asyncio.ensure_future(each) for each in (here.judges.run(), here.quotas.run())]
    here.judges.take(pair())
    await until(lambda: here.scores)
    for each in running:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert here.results == {"tie": 1}


def rubric(**more: object) -> str:
    return read_rubric("j", JudgeSettings.model_validate({**MINIMAL, **more}))


def test_a_rubric_comes_from_the_configuration_a_file_or_us(tmp_path: Path) -> None:
    file = tmp_path / "rubric.md"
    file.write_text("Be kind.\n", encoding="utf-8")
    assert rubric() == RUBRIC
    assert rubric(rubric="Be brief.") == "Be brief."
    assert rubric(rubric_file=str(file)) == "Be kind.\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "can't be read"), (b"\xff\xfe", "not UTF-8"), (b" \n", "empty or too long"),
     (b"x" * (RUBRIC_MAX_CHARS + 1), "empty or too long")],
)  # fmt: skip
def test_a_file_that_is_no_rubric_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    file = tmp_path / "rubric.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        rubric(rubric_file=str(file))
    assert caught.value.cause.startswith("judges.j.rubric_file: ")
    assert told in caught.value.cause


class World:
    """A gateway whose shadow pairs go to judges."""

    def __init__(self, judges, world, scores: list) -> None:
        self.judges, self.world, self.scores = judges, world, scores

    async def turn(self) -> None:
        await self.judges.turn()
        await self.world.turn()

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self.turn()


@pytest.fixture
def whole(relay_gateway, upstream, wire, stack):
    """A gateway with both arms, and a judge at this port."""

    async def start(port: int, **judge: object) -> World:
        ours, theirs = await upstream(wire.plain(said("ours"))), await upstream(wire.plain(said("theirs")))
        shadow = Shadow(BUCKETS, "", 1_000, 8, "j")
        scores: list = []
        world = await start_world(relay_gateway, ours.port, theirs.port, shadow=shadow)
        one = {"url": f"http://127.0.0.1:{port}/v1", "model": "m", "timeout_s": 600, **judge}
        settings = Settings.model_validate({"judges": {"j": one}})
        judges = build_judges(
            settings,
            {},
            snapshot=lambda: world.snapshot,
            tenants=Tenants(settings),
            leasing=world.quotas.admission.leasing,
            sink=type("Sink", (), {"take": staticmethod(scores.append), "lose": staticmethod(lambda _: None)}),
            counts=world.metrics.judging,
        )
        stack.push_async_callback(judges.close)
        world.shadows.sink = judges
        return World(judges, world, scores)

    return start


async def test_an_answered_request_becomes_a_score(whole, upstream) -> None:
    here = await whole((await start_judge(upstream, prefers_ours)).port)
    answer = await here.world.ask(CHAT, "/v1/chat/completions", "x-request-id: r-1")
    await here.until(lambda: here.scores)
    (scored,) = here.scores
    assert (scored.request_id, scored.feature, scored.revision, scored.unit) == ("r-1", "draft", 7, "u")
    assert (scored.assigned, scored.w, scored.candidate, scored.baseline) == ("baseline", 1.0, "inhouse", "partner")
    assert answer.json["choices"][0]["message"]["content"] == "theirs"


async def drips(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n")
    await peer.request()


@pytest.mark.parametrize(
    "script",
    [
        never,
        drips,
        b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nnonsense",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 2_000_000,
        None,
    ],
    ids=["slow", "drips", "fails", "nonsense", "huge", "down"],
)
async def test_whatever_a_judge_does_answers_are_the_same_and_nothing_is_scored(
    whole, upstream, unused_port: int, script
) -> None:
    port = unused_port if script is None else (await upstream(script)).port
    here = await whole(port, concurrent=2)
    quiet = await whole(port)  # whose judges never get a turn
    told = []
    for world in (quiet.world, here.world):
        answers = []
        for _ in range(8):
            answers.append(await world.ask(CHAT))
            await here.turn()
        told.append([(answer.status, answer.body, answer.whole) for answer in answers])
    assert told[0] == told[1]
    await here.until(lambda: here.world.ends == {("candidate", CallEnd.OK): 8})
    await here.world.settled()
    assert (here.scores, here.world.gateway.held) == ([], (0, 0, 0, 0))
    here.world.gateway.relay.sweep(perf_counter())
    assert {record.outcome for record in here.world.gateway.records} == {"ok"}


def test_each_judge_has_its_part_of_the_memory() -> None:
    settings = Settings.model_validate({"judges": dict.fromkeys(("a", "b"), MINIMAL)})
    tenants, metrics = Tenants(settings), Metrics()
    made = build_judges(
        settings, {}, snapshot=lambda: None, tenants=tenants, leasing=Leasing(lambda: None), sink=None,
        counts=metrics.judging,
    )  # fmt: skip
    assert {name: each._queue._bytes_max for name, each in made.judges.items()} == dict.fromkeys("ab", 8 * 1024 * 1024)
