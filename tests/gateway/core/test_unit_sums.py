import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core import unit_sums as module
from gateway.core.checks.sampling import CheckSample
from gateway.core.held_units import Held
from gateway.core.judged_unit import Judged
from gateway.core.unit_outcomes import ABSENT
from gateway.core.unit_sums import Books, looked_at
from gateway.core.units import End, Unit
from rollout.core.claims import Claim, draw_of
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence import eprocess
from rollout.core.evidence.arms import units_key
from rollout.core.evidence.coverage import Counts, rated
from rollout.core.evidence.eprocess import NOTHING
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.plans import EPOCH_S, errors_key, key_of, series_of, stored, sums_of, vector_of
from rollout.core.evidence.score import Units, floor_fall
from rollout.core.evidence.silence import Watch, watched_key
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.ramp_model import Evidence, GateKind, Phase
from tests.gateway.core.test_unit_places import FLAG as HARM_ONLY
from tests.gateway.core.test_unit_places import GATE

AGE_S = 60.0
PROOF = replace(GATE, kind=GateKind.NONINFERIORITY)
FLAG = replace(HARM_ONLY, gates=(PROOF,), evidence=Evidence(age="60s", feedback_age="10m"))
(SERIES,) = series_of(FLAG)
KEY = key_of("draft", FLAG.progress, SERIES.prefix, 0)
ERRORS = errors_key(FLAG, 0)
ARMS = units_key("draft", FLAG.progress, 10_000)


def unit(number: int, success: float | None = 1.0, **changes: object) -> Unit:
    made = Unit(1_010.0, number, "draft", 1, number % 2 == 0, AGE_S, f"r{number}", success, End.ANSWERED, 1.0)
    return made._replace(**changes)


def learned(*flags: FeatureFlag, books: Books | None = None) -> Books:
    books = books or Books()
    for flag in flags:
        books.learn(compile_snapshot({flag.feature: flag}, flag.revision))
    return books


def summed(books: Books, units: list[Unit]) -> dict:
    return books.summed(books.judged(2_000.0, units))


def expected(units: list[Unit], predicted: float, series=SERIES) -> list[int]:
    columns = Units(
        np.full(len(units), 10_000),
        np.array([each.candidate for each in units], bool),
        np.array([predicted if each.success is None else each.success for each in units], float),
        np.full(len(units), predicted),
    )
    return vector_of(gathered(series.plan, columns))


def test_units_are_claimed_for_the_draw_of_their_flag() -> None:
    books = learned(FLAG)
    assert [each.claim for each in books.judged(2_000.0, [unit(4)])] == [Claim("draft", draw_of(3, "draft"), 4)]
    assert books.judged(2_000.0, [unit(5, revision=9), unit(6, feature="ask")]) == []
    assert books.unplaced == 2


def test_errors_are_counted_and_scored() -> None:
    books = learned(FLAG)
    first, second = [unit(1, 0.0), unit(2, 1.0)], [unit(3, 1.0)]
    assert summed(books, first) == {KEY: expected(first, 1.0), ERRORS: [0, 1, 1, 1], ARMS: [1, 1]}
    assert summed(books, second) == {KEY: expected(second, 683 / 1_024), ERRORS: [0, 0, 0, 1], ARMS: [0, 1]}


UNITS = st.lists(
    st.builds(
        unit,
        st.integers(1, 2**63 - 1),
        st.sampled_from([0.0, 1.0, None]),
        candidate=st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@given(UNITS)
def test_adding_up_by_kind_gives_the_same_bits_as_adding_up_units(batch: list[Unit]) -> None:
    books = learned(FLAG)
    summed(books, [unit(1, 0.0), unit(2, 1.0), unit(3, 0.0)])
    assert summed(books, batch)[KEY] == expected(batch, 0.5)


@given(UNITS, st.randoms(use_true_random=False))
def test_the_order_of_a_batch_makes_no_difference(batch: list[Unit], random) -> None:
    shuffled = batch.copy()
    random.shuffle(shuffled)
    assert summed(learned(FLAG), shuffled) == summed(learned(FLAG), batch)


@given(UNITS)
def test_swapping_the_arms_swaps_the_counts(batch: list[Unit]) -> None:
    even = replace(FLAG, share_millipct=BUCKETS // 2)
    key, arms, errors = KEY, units_key("draft", FLAG.progress, BUCKETS // 2), errors_key(even, 0)
    straight = summed(learned(even), batch)
    mirrored = summed(learned(even), [each._replace(candidate=not each.candidate) for each in batch])
    assert mirrored[arms] == straight[arms][::-1]
    assert mirrored[errors] == [straight[errors][index] for index in (1, 0, 3, 2)]
    units, candidates, contrast, overlap = straight[key][:4]
    assert mirrored[key][:4] == [units, units - candidates, -contrast, overlap]


def test_the_left_out_are_counted_beside_the_sums_and_who_is_forgotten_as_well() -> None:
    books, told = learned(FLAG), []
    books.left_out.told = lambda labels, amount: told.append((*labels[1:], amount))
    books.left_out.add = lambda key, row: told.append((key, row))
    key = books.places.current[0].covered[SERIES.prefix]
    assert summed(books, [unit(2, None), unit(4, None), unit(3, None), unit(5)])[key] == [2, 1, 0, 0, 0, 0]
    assert sorted(told) == [("errors", "baseline", "unknown", 1), ("errors", "candidate", "unknown", 2)]
    told.clear()
    assert key not in summed(books, [unit(2), unit(9, revision=4)])
    books.left_out.hand_over()
    assert told == [(key, Counts(lost_baselines=1)), ("errors", "baseline", "unplaced", 1)]


def test_of_a_ramp_that_is_over_nobody_is_missing() -> None:
    thumbs = gates("thumbs")
    books = learned(thumbs)
    held = Held(1_610.0, 1_010.0, "draft", 1, 2, True)
    learned(replace(thumbs, revision=2, progress=replace(thumbs.progress, phase=Phase.COMPLETED)), books=books)
    assert (books.judged(2_000.0, [unit(1)]), books.rated([(held, [1.0])]), books.unplaced) == ([], {}, 0)


def test_who_is_left_out_is_scored_at_the_prediction() -> None:
    books = learned(FLAG)
    deltas = summed(books, [unit(2, None)])
    (found,) = [sums for _, _, sums in stored("draft", FLAG.progress, SERIES, deltas)]
    assert (found.moments.units, found.moments.contrast) == (1, 0)
    assert found.moments.overlap > 0
    assert deltas[ERRORS] == [0, 0, 1, 0]
    assert summed(books, [unit(3)]) == summed(learned(FLAG), [unit(3)])


def test_who_is_left_out_says_nothing_of_a_floor() -> None:
    """Predictions are of both arms: a baseline that is down must not be held against the candidate's impatient."""
    floor = replace(GATE, kind=GateKind.THRESHOLD, margin=None, limit=0.05)
    flag = replace(HARM_ONLY, gates=(floor,))
    (series,) = series_of(flag)
    key, books = key_of("draft", flag.progress, series.prefix, 0), learned(flag)
    summed(books, [unit(2 * number + 1, 0.0) for number in range(50)])
    (floors,) = sums_of(series.plan, summed(books, [unit(2 * number, None) for number in range(60, 90)])[key]).floors
    assert floors == NOTHING
    (kept,) = sums_of(series.plan, summed(books, [unit(200, 0.0), unit(202, None)])[key]).floors
    assert kept == eprocess.log_sums(np.array([0.95]) / floor_fall(0.95))


def test_steps_and_epochs_have_sums_of_their_own() -> None:
    later = replace(FLAG, revision=2, progress=replace(FLAG.progress, step=1, step_began_s=1_500.0))
    deltas = summed(
        learned(FLAG, later), [unit(1), unit(2, revision=2), unit(3, arrived_s=1_000.0 + EPOCH_S - AGE_S + 1)]
    )
    assert set(deltas) == {
        *(key_of("draft", flag.progress, SERIES.prefix, 0) for flag in (FLAG, later)),
        *(errors_key(flag, 0) for flag in (FLAG, later)),
        key_of("draft", FLAG.progress, SERIES.prefix, 1),
        errors_key(FLAG, 1),
        ARMS,
    }


def test_gates_that_ask_too_much_leave_the_arms_counted() -> None:
    many = tuple(replace(PROOF, name=f"g{number}", margin=0.01 * number) for number in range(1, 40))
    assert summed(learned(replace(FLAG, gates=many)), [unit(1)]) == {ARMS: [0, 1]}


def gates(*metrics: str, **changes: object) -> FeatureFlag:
    return replace(FLAG, gates=tuple(replace(GATE, name=each, metric=each, **changes) for each in metrics))


def test_latency_is_held_against_the_yardstick_in_force_at_arrival() -> None:
    flag = gates("total_p50", margin=0.5)
    books = learned(flag)
    (series,) = series_of(flag)
    key = key_of("draft", flag.progress, series.prefix, 1)
    first = books.judged(1_071.0, [unit(2 * number + 1) for number in range(60)])
    assert {each.outcomes for each in first} == {(-1.0,)}
    assert list(books.summed(first)) == [ARMS]
    slow, slower = unit(2, arrived_s=1_100.0, total_s=1.4), unit(4, arrived_s=1_100.0, total_s=1.7)
    late = books.judged(1_161.0, [slow, slower, slow._replace(digest=6, arrived_s=1_071.9)])
    assert [each.outcomes for each in late] == [(1.0,), (0.0,), (-1.0,)]
    assert books.summed(late)[key][0] == 2


def test_a_bound_beyond_the_age_is_counted() -> None:
    flag = gates("total_p50")
    books = learned(flag)
    books.judged(1_071.0, [unit(2 * number + 1, end=End.OPEN, total_s=59.5, age_s=59.0) for number in range(20)])
    books.judged(1_072.0, [unit(2 * number + 1, total_s=59.0) for number in range(60)])
    judged = books.judged(1_200.0, [unit(2, arrived_s=1_100.0)])
    assert judged[0].outcomes == (-2.0,)
    assert books.beyond == {("draft", "total_p50"): 1}
    assert books.summed(judged) == {ARMS: [1, 0]}


def test_form_is_of_the_sample_alone_and_the_unchecked_are_left_out() -> None:
    flag = gates("form")
    (series,) = series_of(flag)
    key = key_of("draft", flag.progress, series.prefix, 0)
    found = {"r2": True, "r3": False}
    books = learned(flag, books=Books(CheckSample(BUCKETS), lambda each: found.get(each.request_id)))
    judged = books.judged(2_000.0, [unit(2), unit(3), unit(4)])
    assert [each.outcomes for each in judged] == [(0.0,), (1.0,), (None,)]
    assert books.summed(judged)[key][0] == 3
    assert [each.outcomes for each in learned(flag).judged(2_000.0, [unit(2)])] == [(-1.0,)]


def test_ratings_count_later_and_alone() -> None:
    flag = replace(gates("thumbs"), gates=(*gates("thumbs").gates, PROOF))
    books = learned(flag)
    thumbs = next(each for each in series_of(flag) if each.metric == "thumbs")
    judged = books.judged(2_000.0, [unit(1), unit(2)])
    assert key_of("draft", flag.progress, thumbs.prefix, 0) not in books.summed(judged)
    held = list(books.held(judged))
    assert held[1] == Held(1_610.0, 1_010.0, "draft", 1, 2, True)
    deltas = books.rated([(held[0], []), (held[1], [1.0, 0.5])])
    both, covered = [unit(1, 0.5), unit(2, 0.75)], books.places.current[0].covered
    assert deltas == {
        key_of("draft", flag.progress, thumbs.prefix, 5): expected(both, 0.5, thumbs),
        covered[thumbs.prefix]: [*rated(1, candidate=True)],
    }
    assert books.rated([(held[0]._replace(revision=9), [])]) == {}
    assert books.unplaced == 1


def test_who_is_not_asked_for_ratings_is_not_held() -> None:
    books = learned(FLAG)
    assert list(books.held(books.judged(2_000.0, [unit(1)]))) == []


def test_predictions_start_where_outcomes_usually_are() -> None:
    metrics = ("errors", "form", "total_p95")
    flag = replace(gates(*metrics, kind=GateKind.NONINFERIORITY), share_millipct=50_000)
    books = learned(flag)
    place = books.places.current[0]
    batch = [Judged(place, 1_010.0, 1, True, 0.0, (0.0,) * len(place.series))]
    deltas = books.summed(batch)
    for series in place.series:
        (sums,) = [each for _, _, each in stored("draft", flag.progress, series, deltas)]
        usual = 0.95 if series.metric == "total_p95" else 1.0
        assert sums.moments.contrast / 2**32 == pytest.approx(-0.5 * usual, abs=1e-3)


def test_the_predictions_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEANS_MAX", 1)
    other = replace(FLAG, feature="ask")
    books = Books()
    books.learn(compile_snapshot({"draft": FLAG, "ask": other}, 1))
    for name in ("draft", "ask", "draft"):
        deltas = summed(books, [unit(1, 0.0, feature=name)])
        assert deltas[KEY._replace(feature=name)] == expected([unit(1, 0.0)], 1.0)


def test_a_prediction_that_is_forgotten_in_a_batch_loses_nothing_and_is_one_for_both_arms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MEANS_MAX", 1)
    books = Books()
    books.learn(compile_snapshot({"draft": FLAG, "ask": replace(FLAG, feature="ask")}, 1))
    summed(books, [unit(1, 0.0, feature="ask")])
    of_ask = [unit(2, 1.0, feature="ask"), unit(3, 1.0, feature="ask")]
    deltas = summed(books, [of_ask[0], unit(4, 0.0), of_ask[1]])
    assert deltas[KEY._replace(feature="ask")] == expected(of_ask, 0.5)
    assert deltas[KEY] == expected([unit(4, 0.0)], 1.0)


def test_units_may_be_watched_in_parts() -> None:
    flag = gates("total_p50")
    whole, parted = learned(flag), learned(flag)
    units = [unit(2 * number + 1, total_s=1.0 + number / 10) for number in range(60)]
    whole.watch(2_000.0, units)
    for start in range(0, 60, 25):
        parted.see(units[start : start + 25])
    parted.watch(2_000.0, ())
    late = unit(500, arrived_s=2_001.0, total_s=2.0)
    found = [[each.outcomes for each in books.judge([late])] for books in (whole, parted)]
    assert found[0] == found[1] != [(ABSENT,)]


@given(UNITS, st.integers(1, 4))
def test_left_out_units_may_come_in_any_batch(batch: list[Unit], parts: int) -> None:
    """Nothing is learned from them, so the prediction stays, and sums of batches are the sums of all."""
    books, whole = learned(FLAG), [each._replace(success=None) for each in batch]
    vectors = [summed(books, whole[start::parts])[KEY] for start in range(parts) if whole[start::parts]]
    assert [sum(column) for column in zip(*vectors, strict=True)] == expected(whole, 1.0)


def test_who_is_looked_at_is_counted_by_arrival_known_or_new() -> None:
    units = learned(FLAG).judged(2_000.0, [unit(1), unit(2), unit(3, arrived_s=1_010.0 + EPOCH_S)])
    keys = [watched_key("draft", FLAG.progress, 1_010.0 + each * EPOCH_S) for each in (0, 1)]
    assert looked_at([*units, units[0]]) == {keys[0]: [0, 3], keys[1]: [0, 1]}


def test_of_the_sample_it_is_counted_who_was_checked() -> None:
    flag = replace(FLAG, gates=(replace(FLAG.gates[0], metric="form"),))
    found: dict[str, bool | None] = {"r1": False, "r2": True, "r3": None}
    books = Books(CheckSample(100_000), lambda unit: found[unit.request_id])
    books.learn(compile_snapshot({"draft": flag}, 1))
    units = [unit(1, request_id=each) for each in found]
    checks, watch = (watched_key("draft", FLAG.progress, 1_010.0, each) for each in (Watch.CHECKS, Watch.UNITS))
    assert looked_at(books.judged(2_000.0, units)) == {watch: [0, 3], checks: [3, 2]}
