"""Whom a judge is not asked about: what is spent, old, withdrawn, somebody else's, or one too many."""

from __future__ import annotations

from functools import partial
from time import perf_counter

import pytest

from gateway.core.breaker import BreakerState
from gateway.core.judging.score import Miss
from rollout.core.model import Kill, State
from tests.gateway.bench import NOW_S, completion, pair, prefers_ours, stalls, start_bench, start_judge, verdict

DIFFERENT, EQUAL = ("ours", "theirs"), ("same", "same")


@pytest.fixture
def bench(stack):
    return partial(start_bench, stack)


@pytest.fixture
def judge_server(upstream):
    return partial(start_judge, upstream)


async def test_no_more_than_so_many_are_under_way(upstream, bench) -> None:
    server = await upstream(stalls)
    here = bench(server.port, concurrent=2)
    for number in range(5):
        here.judges.take(pair(number))
    await here.until(lambda: here.judge.counts == (3, 2))
    for _ in range(10):
        await here.turn()
    assert (here.judge.counts, server.connections) == ((3, 2), 2)


async def test_all_workers_together_show_no_more_pairs_than_a_day_has(judge_server, bench) -> None:
    server = await judge_server(prefers_ours)
    here = bench(server.port, pairs_per_day=3)
    for number in range(10):
        here.judges.take(pair(number))
    await here.settled()
    assert (here.results, here.missed) == ({"candidate": 3}, {Miss.BUDGET: 7})
    assert (len(here.spared), here.losses) == (7, [])
    assert len(server.requests) == 6
    here.now_s = NOW_S + 86_400
    here.judges.take(pair(11, at_s=here.now_s))
    await here.settled()
    assert here.results == {"candidate": 4}


async def test_equal_answers_are_not_judged_when_the_days_pairs_are_through(judge_server, bench) -> None:
    """Else what is scored from then on would be equal pairs alone, and look like half a win."""
    here = bench((await judge_server(prefers_ours)).port, pairs_per_day=2, concurrent=1)
    for number, (ours, theirs) in enumerate([DIFFERENT, EQUAL, EQUAL, DIFFERENT, EQUAL, DIFFERENT, EQUAL]):
        here.judges.take(pair(number, ours, theirs))
        await here.settled()
    assert (here.results, here.missed) == ({"candidate": 2, "same": 2}, {Miss.BUDGET: 3})


async def test_equal_answers_wait_for_a_place_as_others_do(upstream, bench, wire) -> None:
    async def answers_once_and_stalls(peer) -> None:
        for _ in range(2):
            await peer.request()
            peer.send(wire.plain(completion(verdict("tie"))))
        await stalls(peer)

    here = bench((await upstream(answers_once_and_stalls)).port, concurrent=1)
    here.judges.take(pair(0))
    await here.settled()
    here.judges.take(pair(1))
    await here.until(lambda: here.judge.counts == (0, 1))
    here.judges.take(pair(2, *EQUAL))
    for _ in range(10):
        await here.turn()
    assert (here.judge.counts, here.results) == ((1, 1), {"tie": 1})


async def test_equal_answers_wait_while_the_judge_is_ejected_and_are_asked_about_as_probes(
    upstream, bench, wire
) -> None:
    texts = iter([verdict("tie")] * 2 + ["hm"] * 4 + [verdict("first"), verdict("first")])

    async def script(peer) -> None:
        while True:
            await peer.request()
            peer.send(wire.plain(completion(next(texts))))

    here = bench((await upstream(script)).port, concurrent=1)
    for number in range(4):
        here.judges.take(pair(number))
        await here.settled()
    assert (here.judge.state, here.results, here.missed) == (BreakerState.EJECTED, {"tie": 1}, {Miss.NONSENSE: 3})
    here.judges.take(pair(5, *EQUAL))
    for _ in range(10):
        await here.turn()
    assert here.judge.counts == (1, 0)
    await here.turn(later_s=3_600)
    await here.settled()
    assert (here.results, here.missed) == ({"tie": 1}, {Miss.NONSENSE: 4})
    here.judges.take(pair(6, *EQUAL))
    await here.turn(later_s=36_000)
    await here.settled()
    assert here.results == {"tie": 1, "same": 1}
    assert next(texts, None) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kill": Kill(on=True)}, Miss.WITHDRAWN),
        ({"state": State.DISABLED}, Miss.WITHDRAWN),
        ({"candidate": "newer"}, Miss.WITHDRAWN),
        ({"judge": "another"}, Miss.WITHDRAWN),
    ],
)
async def test_what_nobody_wants_any_more_is_shown_to_nobody(
    bench, judge_server, change: dict[str, object], reason: Miss
) -> None:
    server = await judge_server(prefers_ours)
    here = bench(server.port)
    here.judges.take(pair())
    here.flag(**change)
    await here.settled()
    assert (here.missed, here.scores, server.requests) == ({reason: 1}, [], [])


async def test_a_pair_that_has_waited_too_long_is_shown_to_nobody(bench, judge_server) -> None:
    server = await judge_server(prefers_ours)
    here = bench(server.port, stale_s=60)
    here.judges.take(pair(1))
    here.judges.take(pair(2, at_s=NOW_S + 10))
    here.now_s = NOW_S + 61
    await here.settled()
    assert ([each.request_id for each in here.scores], here.missed) == (["r2"], {Miss.STALE: 1})


@pytest.mark.parametrize(("region", "missed"), [("eu", {}), ("us", {Miss.RESIDENCY: 1}), (None, {Miss.RESIDENCY: 1})])
async def test_a_tenants_data_stay_in_its_regions(bench, judge_server, region: str | None, missed: dict) -> None:
    server = await judge_server(prefers_ours)
    here = bench(server.port, {"tenants": {"acme": {"regions": ["eu"]}}}, region=region)
    here.judges.take(pair(1))
    here.judges.take(pair(2, tenant="free"))
    await here.settled()
    assert here.missed == missed
    assert len(here.scores) == 2 - len(missed)
    assert len(server.requests) == 2 * len(here.scores)


async def test_a_request_that_cannot_be_read_costs_no_budget(bench, judge_server) -> None:
    here = bench((await judge_server(prefers_ours)).port, pairs_per_day=1)
    here.judges.take(pair(1, prompt=b"{}"))
    here.judges.take(pair(2))
    await here.settled()
    assert (here.missed, here.results) == ({Miss.UNREADABLE: 1}, {"candidate": 1})


async def test_a_sink_that_fails_ends_nothing(bench, judge_server) -> None:
    here = bench((await judge_server(prefers_ours)).port)

    def fail(scored) -> None:
        raise RuntimeError("full")

    good, here.take = here.take, fail
    here.judges.take(pair(1))
    here.judges.take(pair(2, "same", "same"))
    await here.settled()
    assert (here.missed, here.results) == ({Miss.DEFECT: 2}, {})
    here.take = good
    here.judges.take(pair(3))
    await here.settled()
    assert here.results == {"candidate": 1}


async def test_closing_cuts_what_is_under_way_and_forgets_what_waits(upstream, bench, until) -> None:
    server = await upstream(stalls)
    here = bench(server.port, concurrent=1)
    here.judges.take(pair(1))
    here.judges.take(pair(2))
    await here.until(lambda: here.judge.counts == (1, 1) and server.open == 1)
    await here.judges.close()
    assert (here.judge.counts, here.missed) == ((0, 0), {Miss.DRAINING: 2})
    await until(lambda: server.open == 0)
    here.judges.take(pair(3))
    assert here.missed == {Miss.DRAINING: 3}


async def test_one_that_is_cut_before_its_first_step_is_counted_too(bench, unused_port: int) -> None:
    here = bench(unused_port)
    await here.turn()
    here.judges.take(pair())
    here.judge.turn(perf_counter())
    assert here.judge.counts == (0, 1)
    await here.judges.close()
    assert (here.judge.counts, here.missed) == ((0, 0), {Miss.DRAINING: 1})
