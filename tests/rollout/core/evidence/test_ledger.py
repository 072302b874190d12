import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import eprocess, ledger, restart
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.interval import Moments
from rollout.core.evidence.ledger import (
    MetricPlan,
    MetricSums,
    Observation,
    SumsKey,
    add,
    gathered,
    nothing,
    replay,
    total,
)
from rollout.core.evidence.score import (
    below_floor,
    floor_fall,
    for_harm,
    for_noninferiority,
    harm_fall,
    score,
)
from rollout.core.model import BUCKETS

PLANS = {"thumbs": MetricPlan((0.08, 0.03), (0.03,)), "ttft_p95": MetricPlan((), (0.0,))}
OBSERVATION = st.builds(
    Observation,
    st.sampled_from(["draft", "ask"]),
    st.sampled_from(sorted(PLANS)),
    st.integers(0, 1),
    st.integers(0, 2),
    st.integers(0, BUCKETS),
    st.booleans(),
    st.floats(0, 1),
    st.floats(0, 1),
)
LOG = st.lists(OBSERVATION, max_size=40)
ROWS = [(50_000, index % 2 == 0, (index % 3) / 2, 0.5) for index in range(90)]


def merged(*parts: dict[SumsKey, MetricSums]) -> dict[SumsKey, MetricSums]:
    keys = {key for part in parts for key in part}
    return {key: total(PLANS[key.metric], (part[key] for part in parts if key in part)) for key in keys}


@given(LOG, st.randoms(use_true_random=False))
def test_a_replay_in_any_order_gives_the_same_bits(log: list[Observation], random) -> None:
    shuffled = log.copy()
    random.shuffle(shuffled)
    assert msgspec.json.encode(sorted(replay(PLANS, shuffled).items())) == msgspec.json.encode(
        sorted(replay(PLANS, log).items())
    )


@given(LOG, LOG, LOG)
def test_workers_and_replicas_that_merge_are_a_single_stream(first: list, second: list, third: list) -> None:
    apart = [replay(PLANS, log) for log in (first, second, third)]
    whole = replay(PLANS, first + second + third)
    assert merged(*apart) == merged(merged(apart[2], apart[0]), apart[1]) == whole


def test_a_log_longer_than_a_batch_is_settled_on_the_way(monkeypatch) -> None:
    log = [Observation("draft", "thumbs", 0, index % 2, 5_000, index % 3 == 0, 0.5, 0.25) for index in range(50)]
    whole = replay(PLANS, log)
    monkeypatch.setattr(ledger, "_BATCH", 7)
    assert replay(PLANS, log) == whole


@given(LOG)
def test_sums_survive_being_stored(log: list[Observation]) -> None:
    for key, sums in replay(PLANS, log).items():
        assert msgspec.json.decode(msgspec.json.encode(sums), type=MetricSums) == sums
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(key), type=SumsKey) == key
    assert msgspec.json.decode(msgspec.json.encode(log), type=list[Observation]) == log


def test_the_sums_are_those_of_each_margin(units) -> None:
    batch, plan = units(ROWS), PLANS["thumbs"]
    sums = gathered(plan, batch)
    assert sums.noninferiority == tuple(
        eprocess.log_sums(for_noninferiority(score(batch), margin)) for margin in (0.08, 0.03)
    )
    assert sums.harm == (eprocess.log_sums(for_harm(score(batch), 0.03) / harm_fall(batch, 0.03)),)
    (floor,) = gathered(MetricPlan((), (), (0.9,)), batch).floors
    assert floor == eprocess.log_sums(below_floor(batch, 0.9) / floor_fall(0.9))
    assert (sums.moments.units, sums.moments.candidates) == (90, 45)


def test_values_are_read_at_the_margin_and_over_the_scope_that_is_asked_for(units) -> None:
    plan = PLANS["thumbs"]
    early, late = gathered(plan, units(ROWS[:50])), gathered(plan, units(ROWS[50:]))
    whole = gathered(plan, units(ROWS))
    assert ledger.noninferiority_log_value(plan, 0.03, [early, late]) == eprocess.log_value(whole.noninferiority[1])
    assert ledger.noninferiority_log_value(plan, 0.08, [late]) == eprocess.log_value(late.noninferiority[0])
    growth = {epoch: [real(steps) for steps in sums.harm[0]] for epoch, sums in ((0, early), (4, late))}
    assert ledger.harm_log_value(plan, 0.03, {0: early, 4: late}) == restart.log_value(growth)


def test_harm_and_floors_go_on_from_what_was_carried_over(units) -> None:
    plan = MetricPlan((), (0.02,), (0.9,))
    sums = {epoch: gathered(plan, units(ROWS[: 2 + epoch])) for epoch in range(3)}
    for value, row in ((ledger.harm_log_value, 0), (ledger.floor_log_value, 1)):
        bound = (*plan.harm, *plan.floors)[row]
        growth = {epoch: list(map(real, (*each.harm, *each.floors)[row])) for epoch, each in sums.items()}
        before = restart.carry({epoch: growth[epoch] for epoch in (0, 1)})
        assert value(plan, bound, sums) == restart.log_value(growth)
        assert value(plan, bound, {2: sums[2]}, before) == value(plan, bound, sums)
    with pytest.raises(InvalidArgument, match="no evidence is gathered"):
        ledger.floor_log_value(plan, 0.8, sums)


def test_nothing_gathered_is_a_value_of_one() -> None:
    plan = PLANS["thumbs"]
    assert ledger.noninferiority_log_value(plan, 0.03, []) == 0.0
    assert ledger.harm_log_value(plan, 0.03, {}) == 0.0
    assert nothing(plan).moments == Moments()


@pytest.mark.parametrize("ask", [ledger.noninferiority_log_value, ledger.harm_log_value])
def test_a_margin_that_was_not_planned_is_refused(ask) -> None:
    with pytest.raises(InvalidArgument, match=r"gathered for a margin of 0\.05"):
        ask(PLANS["thumbs"], 0.05, {})


def test_sums_of_different_plans_are_not_added() -> None:
    with pytest.raises(InvalidArgument, match="different plans"):
        add(nothing(PLANS["thumbs"]), nothing(PLANS["ttft_p95"]))
    with pytest.raises(InvalidArgument, match="different plans"):
        add(nothing(MetricPlan((), (0.1, 0.2))), nothing(MetricPlan((), (0.1,))))


def test_an_observation_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="out of range"):
        replay(PLANS, [Observation("draft", "thumbs", 0, 0, 5_000, True, math.nan, 0.5)])


def test_the_digest_tells_a_changed_plan() -> None:
    same = {metric: PLANS[metric] for metric in reversed(PLANS)}
    assert ledger.digest(same) == ledger.digest(PLANS)
    assert ledger.digest(PLANS | {"thumbs": MetricPlan((0.08, 0.05), (0.03,))}) != ledger.digest(PLANS)


def test_the_digest_tells_other_bets(monkeypatch) -> None:
    before = ledger.digest(PLANS)
    monkeypatch.setattr(ledger, "_BETS_VERSION", 3)
    assert ledger.digest(PLANS) != before


def test_a_plan_with_an_unknown_word_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"noninferiority": [], "harm": [], "margin": 1}', type=MetricPlan)


def test_a_batch_is_one_array_of_whatever_type_its_source_had() -> None:
    log = [Observation("draft", "thumbs", 0, 0, 5_000, True, 1.0, 0.5)]
    assert np.isfinite(ledger.harm_log_value(PLANS["thumbs"], 0.03, {0: replay(PLANS, log)[log[0].key]}))
