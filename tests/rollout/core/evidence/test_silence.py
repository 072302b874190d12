import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import pairs
from rollout.core.evidence.arms import units_key
from rollout.core.evidence.folding import folds_of
from rollout.core.evidence.plans import EPOCH_S, errors_key, vector_of
from rollout.core.evidence.silence import (
    PAIR_AGE_S,
    PATIENCE_S,
    SPARSE_S,
    Watch,
    Watched,
    silence_fold,
    silence_of,
    watched_key,
)
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.gates import Result
from rollout.core.model import FeatureFlag, Shadow
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.05)
RATED = replace(HARM, name="rated", metric="thumbs")
FORM = replace(HARM, name="form", metric="form")
PAIRS = replace(HARM, name="pairs", metric="judge", margin=0.1)
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1)
AGE_S = 60.0
FLAG = FeatureFlag(
    feature="draft",
    candidate="a",
    baseline="b",
    share_millipct=50_000,
    gates=(HARM, RATED),
    evidence=Evidence(age="60s", feedback_age="1h"),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=600.0, step_began_s=600.0),
)
Sums = dict[SumKey, tuple[int, ...]]


def at_s(epoch: float) -> float:
    return 600.0 + epoch * EPOCH_S


def watched(requests: dict[int, int], units: dict[int, int], watch: Watch = Watch.UNITS) -> Sums:
    """Both by epoch."""
    epochs = requests.keys() | units.keys()
    return {
        watched_key("draft", FLAG.progress, at_s(each), watch): Watched(requests.get(each, 0), units.get(each, 0))
        for each in epochs
    }


def told(sums: Sums, epoch: float, gate: Gate = HARM) -> str:
    """What is said once the units that arrived before this epoch have come of age, with patience."""
    return silence_of(gate, FLAG, sums, at_s(epoch) + AGE_S + PATIENCE_S)


STEADY = dict.fromkeys(range(40), 7)


def test_requests_that_nobody_looks_at_are_told_once_they_came_for_longer_than_an_age() -> None:
    dead = watched(STEADY, {0: 5, 2: 1})
    assert [bool(told(dead, epoch)) for epoch in (3, 4, 5, 5.9, 6, 20)] == [False, False, False, False, True, True]
    assert told(dead, 6) == "21 requests since 1970-01-01 00:16 UTC, no unit of them has come of age"


def test_where_none_was_ever_looked_at_it_is_the_same() -> None:
    assert told(watched(STEADY, {}), 3).startswith("21 requests since 1970-01-01 00:10 UTC")


def test_ratings_are_waited_for_at_their_own_age() -> None:
    dead = watched(STEADY, {0: 5})
    assert told(dead, 6)
    assert not told(dead, 6, RATED)
    assert told(dead, 6 + (3_600 - AGE_S) / EPOCH_S, RATED)


@pytest.mark.parametrize(
    ("requests", "units"),
    [
        ({}, {}),
        ({0: 9, 1: 9}, {0: 9, 1: 9}),
        (STEADY, dict.fromkeys(range(40), 1)),
        (STEADY, {39: 1}),
        ({0: 9, 1: 9, 2: 3}, {0: 9}),
        ({0: 9, 1: 5, 500: 3}, {0: 9, 500: 3}),
    ],
    ids=["no ramp", "a quiet night", "known ids", "late", "a killed worker", "a killed worker, a quiet night"],
)
def test_what_is_no_silence(requests: dict[int, int], units: dict[int, int]) -> None:
    assert not told(watched(requests, units), 1_000)


def test_it_ends_with_the_first_unit_of_later() -> None:
    dead = watched(STEADY, {0: 5})
    assert told(dead, 30)
    assert not told(dead | watched({29: 7}, {29: 1}), 30)


def test_what_others_have_counted_is_nothing_and_what_can_not_be_read_is_a_fault() -> None:
    dead = watched(STEADY, {0: 5})
    others = {key._replace(epoch=2): row for key, row in dead.items()}
    others |= {key._replace(feature="other"): row for key, row in dead.items()}
    assert not told(others, 30)
    for name, row in (("watch.x", (1, 1)), ("watch.1.1", (1, 1)), ("watch.1", (1, 1, 1)), ("watch.1", (-1,))):
        with pytest.raises(InvalidArgument, match="can't be read"):
            told({SumKey("draft", 1, name): row}, 30)


def test_gates_are_blind_in_a_silence_but_for_harm_that_was_shown() -> None:
    good: Sums = {errors_key(FLAG, 0): (0, 0, 100, 100), units_key("draft", FLAG.progress, 50_000): (100, 100)}
    dead, now_s = watched(STEADY, {0: 5}), at_s(40)
    flag = replace(FLAG, gates=(HARM, FLOOR))
    quiet, blind = verdicts_of(flag, good, now_s), verdicts_of(flag, good | dead, now_s)
    assert {each.result for each in blind.values()} == {Result.NO_DATA}
    assert blind["worse"].reason == f"{told(dead, 40 - 2)}; {quiet['worse'].reason}"
    assert blind["worse"].value == quiet["worse"].value
    everybody = replace(flag, share_millipct=100_000)
    assert verdicts_of(everybody, good | dead, now_s)["worse"].result is Result.PASS
    assert verdicts_of(everybody, good | dead, now_s)["floor"].result is Result.NO_DATA


SPARSE = int(SPARSE_S / EPOCH_S)
SHADOWED = replace(FLAG, gates=(PAIRS,), shadow=Shadow(millipct=10_000, daily_budget=9, max_concurrent=1))


def told_of_pairs(sums: Sums, epoch: float, flag: FeatureFlag = SHADOWED) -> str:
    return silence_of(PAIRS, flag, sums, at_s(epoch) + PAIR_AGE_S + PATIENCE_S)


def test_a_judge_that_is_down_is_told_once_shadow_calls_came_in_vain_for_long() -> None:
    dead = watched(STEADY, {2: 1}, Watch.PAIRS)
    assert not told_of_pairs(dead, 3 + SPARSE + 1)
    assert told_of_pairs(dead, 3 + SPARSE + 2).endswith(
        " shadow calls since 1970-01-01 00:16 UTC, no pair of them has a score"
    )
    assert not told_of_pairs(dead | watched({30: 7}, {30: 1}, Watch.PAIRS), 31), "it ends with the next"
    assert not told_of_pairs(dead, 40, FLAG), "nobody asks for pairs"
    assert not told_of_pairs(watched(STEADY, {}), 40), "requests alone: the budget of copies may be spent"
    assert not told_of_pairs(watched({0: 9, 1: 9}, {0: 1}, Watch.PAIRS), 1_000)


def test_gates_on_pairs_hold_while_the_judge_is_down_but_for_harm_that_was_shown() -> None:
    proof = replace(PAIRS, name="as-good", kind=GateKind.NONINFERIORITY)
    flag = replace(SHADOWED, gates=(proof, PAIRS))
    plan = pairs.plan_of(flag)
    assert plan is not None
    dead, now_s = watched(STEADY, {0: 5}, Watch.PAIRS), at_s(100)

    def said(wins: list[float]) -> list[tuple[Result, Result]]:
        key = pairs.pairs_key("draft", flag.progress, plan, "v1", 0)
        scored: Sums = {key: tuple(vector_of(pairs.gathered(plan, np.array(wins))))}
        quiet, blind = verdicts_of(flag, scored, now_s), verdicts_of(flag, scored | dead, now_s)
        assert blind["as-good"].reason == f"{told_of_pairs(dead, 80)}; {quiet['as-good'].reason}"
        return [(each.result, blind[name].result) for name, each in quiet.items()]

    assert said([1.0, 0.0, 0.5] * 400) == [(Result.PASS, Result.NO_DATA)] * 2
    assert said([0.0] * 400) == [(Result.INCONCLUSIVE, Result.NO_DATA), (Result.FAIL, Result.FAIL)]


def test_checks_that_have_died_are_told_though_units_are_looked_at() -> None:
    alive, dead = watched(STEADY, STEADY), watched(dict.fromkeys(STEADY, 1), {2: 1}, Watch.CHECKS)
    assert not told(alive | dead, 3 + SPARSE + 1, FORM)
    assert told(alive | dead, 3 + SPARSE + 2, FORM).endswith(
        " units of the sample since 1970-01-01 00:16 UTC, no answer of them was checked"
    )
    assert not told(alive | dead, 40, HARM)
    assert told(watched(STEADY, {}) | dead, 40, FORM).endswith("no unit of them has come of age")


ROWS = st.dictionaries(st.integers(0, 60), st.tuples(st.integers(0, 9), st.booleans()), max_size=30)


@pytest.mark.parametrize(("watch", "gate"), [(Watch.UNITS, HARM), (Watch.CHECKS, FORM), (Watch.PAIRS, PAIRS)])
@given(rows=ROWS, looks=st.lists(st.integers(0, 80), max_size=5))
@settings(deadline=None)
def test_folded_or_not_it_is_told_from_the_same_time_on(replace_sums, watch, gate, rows, looks) -> None:
    flag = replace(SHADOWED, gates=(gate,))
    kept = watched(
        {each: count for each, (count, _) in rows.items()}, {each: 1 for each, (_, seen) in rows.items() if seen}, watch
    )
    kept = {key: row for key, row in kept.items() if any(row)}
    folded = dict(kept)
    for epoch in sorted(looks):
        for asked in folds_of(flag, folded, at_s(epoch)):
            assert replace_sums(folded, asked)
    for epoch in (max(looks, default=0) + 1, 100, 150):
        assert silence_of(gate, flag, folded, at_s(epoch)) == silence_of(gate, flag, kept, at_s(epoch))


def test_a_long_silence_takes_no_room(replace_sums) -> None:
    sums = watched(dict.fromkeys(range(2_000), 3), {5: 1})
    while (asked := silence_fold(FLAG, sums, 1e6)) is not None:
        assert replace_sums(sums, asked)
    assert sums == watched({5: 3, 6: 3 * 1_993, 1_999: 3}, {5: 1})
