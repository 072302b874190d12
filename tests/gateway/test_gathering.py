"""All that gathers evidence in one worker, as it is wired: who hears of what, and what is handed over at the end."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.core import messages as say
from gateway.core.judging.score import Miss
from gateway.core.left_out import Why
from gateway.gathering import Gathering, Surroundings, build_gathering, each_of
from gateway.metrics import Metrics
from gateway.quotas import Quotas
from gateway.settings import Settings
from gateway.spool_files import SPOOL_FOLDER, SpoolFiles
from gateway.tenants import Tenants
from gateway.unit_collector import Requests
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.cluster_parts import PREFIX
from rollout.core.evidence.plans import series_of
from rollout.core.model import BUCKETS, Shadow
from rollout.core.ramp_model import Evidence
from rollout.core.request_sums import requests_key
from rollout.follower import Follower
from tests.gateway.test_cluster_collector import FLAG as BY_USER
from tests.gateway.test_unit_collector import FLAG as BY_CONVERSATION
from tests.gateway.test_unit_collector import GATE, request
from tests.gateway.texts import BOTH, pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.core.outcome import Record
    from rollout.core.model import FeatureFlag

AGES = Evidence(age="10m", feedback_age="1h")
"""So long that a slow machine doesn't make what is to wait come of age."""
UNITS = replace(
    BY_CONVERSATION,
    evidence=AGES,
    gates=(GATE, replace(GATE, name="liked", metric="thumbs")),
    shadow=Shadow(BUCKETS, "", 1_000, 8, "j", keep=BOTH),
)
USERS = replace(BY_USER, feature="users", evidence=AGES)
THUMBS = next(each.prefix for each in series_of(UNITS) if each.metric == "thumbs")
LONG_AGO_S = 4_000.0


class World:
    """Workers over one store."""

    def __init__(self, folder: Path, store: SqliteStore) -> None:
        self.folder, self.store = folder, store

    def worker(self, *flags: str, draft: FeatureFlag = UNITS, **sections: object) -> tuple[Gathering, Metrics]:
        """`flags`: what it has seen, by default all; `draft`: the newest of conversations."""
        judge = {"url": "http://127.0.0.1:9/v1", "model": "m"}
        document = {"store": {"state_dir": str(self.folder)}, "judges": {"j": judge}, **sections}
        settings, metrics = Settings.model_validate(document), Metrics()
        follower = Follower(self.store, WallClock())
        seen = {flag.feature: flag for flag in (draft, USERS) if not flags or flag.feature in flags}
        follower.snapshot = compile_snapshot(seen, 1)
        leasing = Quotas(self.store).admission.leasing
        around = Surroundings(settings, self.store, follower, Tenants(settings), leasing, metrics, {"j": None}, {})
        return build_gathering(around), metrics

    async def units(self, name: str) -> int:
        """Of conversations, in the series whose name begins so."""
        found = await self.store.read_sums("draft")
        return sum(vector[0] for key, vector in found.items() if key.name.startswith(f"{name}."))

    async def requests_of_users(self) -> int:
        found = await self.store.read_sums("users")
        return sum(
            vector[0] for key, vector in found.items() if key.name.startswith(PREFIX) and key.name.endswith(".all")
        )


@pytest.fixture
async def world(tmp_path: Path, stack) -> World:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    return World(tmp_path / "state", store)


def one_of_each(number: int, ago_s: float = LONG_AGO_S) -> list[Record]:
    """A conversation and a request of a user that arrived so long ago."""
    arrived_s = time.time() - ago_s
    return [
        request(number, arrived_s, request_id=f"r{number}"),
        request(number, arrived_s, request_id=f"u{number}", feature="users"),
    ]


def give(gathering: Gathering, records: list[Record]) -> None:
    for sink in gathering.sinks:
        sink.take(records)


@asynccontextmanager
async def running(gathering: Gathering) -> AsyncIterator[None]:
    async def settled() -> None:
        """All have."""

    task = asyncio.ensure_future(gathering.run(Requests(settled, lambda _: [])))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lost(metrics: Metrics) -> dict[str, float]:
    return {each.family: each.values[0] for each in metrics.changes() if each.family.startswith("glidepath_uncounted")}


async def test_one_sink_stands_for_several() -> None:
    told: list[tuple[int, int]] = []
    each_of(lambda one, *, two: told.append((one, two)), lambda one, *, two: told.append((two, one)))(1, two=2)
    assert told == [(1, 2), (2, 1)]


async def test_records_and_ratings_become_sums_by_themselves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    gathering, metrics = world.worker()
    records = one_of_each(1)
    async with running(gathering), asyncio.timeout(60):
        give(gathering, records)
        for each in records:
            gathering.take_rating(each, "thumbs", 0.0)
        while not await world.units(THUMBS) or not await world.requests_of_users():  # noqa: ASYNC110  stores tell nobody
            await asyncio.sleep(0.005)
        while requests_key("draft", UNITS.progress) not in await world.store.read_sums("draft"):  # noqa: ASYNC110  as above
            await asyncio.sleep(0.005)
    assert await world.units(THUMBS) == await world.requests_of_users() == 1
    await gathering.close(replaced=False)
    assert not any(lost(metrics).values())


async def test_a_worker_that_ends_sends_what_is_due_and_counts_the_rest_as_lost(world: World) -> None:
    gathering, metrics = world.worker()
    give(gathering, one_of_each(1) + one_of_each(2, 5.0))
    await gathering.close(replaced=False)
    assert await world.requests_of_users() == 1
    assert (await world.store.read_sums("draft"))[requests_key("draft", UNITS.progress)][0] == 2
    assert (gathering.units.lost, gathering.clusters.lost) == (2, 1)  # users are units as well
    assert lost(metrics)["glidepath_uncounted_units"] == 3


async def test_a_successor_goes_on_with_what_waits(world: World) -> None:
    """Also with what was drawn under flags that it never saw."""
    before, _ = world.worker()
    give(before, one_of_each(1, 700.0) + [record for number in range(2, 6) for record in one_of_each(number, 5.0)])
    await before.close(replaced=True)
    assert await world.requests_of_users() == 1
    handed = list(before.give_away(3))
    assert [(len(each.held), len(each.handed.records) if each.handed else 0) for each in handed] == [
        (1, 0),
        (0, 3),
        (0, 1),
    ]
    after, _ = world.worker("draft")
    for message in handed:
        after.receive(say.decode(say.encode(message)))
    assert list(before.give_away(3)) == []
    await after.close(replaced=False)
    assert after.clusters.lost == 4  # they are there, and younger than their age
    assert before.clusters.lost == 0


async def test_a_successor_rates_what_was_drawn_under_revisions_that_it_never_saw(world: World) -> None:
    before, _ = world.worker()
    give(before, one_of_each(1, 3_590.0))
    await before.close(replaced=True)
    (message,) = before.give_away(3)
    (unit,) = message.held
    message = replace(message, held=(unit._replace(at_s=time.time() - 2.0),))
    later = replace(UNITS, revision=2)
    after, metrics = world.worker("draft", draft=later)
    after.receive(say.decode(say.encode(message)))
    assert await world.units(THUMBS) == 0
    await after.close(replaced=False)
    assert await world.units(THUMBS) == 1
    assert not lost(metrics).get("glidepath_uncounted_units")


async def test_who_waits_for_ratings_when_a_worker_ends_without_a_successor_is_left_out(world: World) -> None:
    gathering, metrics = world.worker()
    give(gathering, one_of_each(1, 700.0))
    await gathering.close(replaced=False)
    assert list(gathering.give_away(3)) == []
    assert metrics.losses.left_out.series == {("draft", "thumbs", "candidate", Why.ENDED): 1}
    assert gathering.units.lost == 1


async def test_pairs_are_kept_judged_and_paid_for(world: World) -> None:
    gathering, metrics = world.worker()
    assert gathering.pair_sink.take(replace(pair(), revision=1)) == 0
    assert gathering.judges.judges["j"].counts[0] == 1
    await gathering.close(replaced=False)
    assert len(list(SpoolFiles(world.folder / SPOOL_FOLDER).read("draft"))) == 1
    assert {reason for _, _, reason in metrics.judging.missed.series} == {Miss.DRAINING}
    assert any("cost" in key.name for key in await world.store.read_sums("draft"))


@pytest.mark.parametrize("millipct", [0, BUCKETS])
async def test_answers_are_checked_where_a_sample_is_wanted(world: World, millipct: int) -> None:
    gathering, _ = world.worker(checks={"sample_millipct": millipct})
    assert (gathering.checking is None) is (millipct == 0)
    await gathering.close(replaced=False)
