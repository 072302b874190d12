from math import isclose

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.evidence import error_bets
from rollout.core.evidence.carrying import vector_of_carried
from rollout.core.evidence.error_bets import BETS
from rollout.core.evidence.error_harm import Seen, errors_fold, harm_log_value, seen_of
from rollout.core.evidence.plans import EPOCH_S, ErrorCounts, errors_key
from rollout.core.evidence.restart import Carried
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Progress, Role
from rollout.core.sums import SumKey, merge

MARGIN = 0.005
HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=MARGIN)
GATES = (
    HARM,
    replace(HARM, name="proof", kind=GateKind.NONINFERIORITY, margin=0.02),
    replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1),
    replace(HARM, name="form", metric="form"),
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="a",
    baseline="b",
    share_millipct=5_000,
    gates=GATES,
    progress=Progress(attempt=1, ramp_began_s=1_000.0, step_began_s=1_000.0),
)
LATER = replace(FLAG, share_millipct=50_000, progress=replace(FLAG.progress, step_began_s=1_700.0))
Sums = dict[SumKey, tuple[int, ...]]
SUMS: Sums = {
    errors_key(FLAG, 0): (2, 20, 100, 2_000),
    errors_key(FLAG, 1): (3, 10, 50, 1_000),
    errors_key(LATER, 1): (5, 6, 500, 500),
    errors_key(LATER, 4): (90, 6, 500, 500),
}


def after_s(epoch: int) -> float:
    """When this epoch is over."""
    return 1_000.0 + (epoch + 1) * EPOCH_S + 30.0 + 600.0


def test_counts_are_told_apart_by_share_and_epoch() -> None:
    seen = seen_of(FLAG, SUMS)
    assert seen.by_epoch == {
        0: {5_000: ErrorCounts(2, 20, 100, 2_000)},
        1: {5_000: ErrorCounts(3, 10, 50, 1_000), 50_000: ErrorCounts(5, 6, 500, 500)},
        4: {50_000: ErrorCounts(90, 6, 500, 500)},
    }
    assert seen.total == ErrorCounts(100, 42, 1_150, 4_000)
    assert seen_of(FLAG, {}).total == ErrorCounts()


def test_all_counts_of_a_share_are_bet_on() -> None:
    assert harm_log_value(FLAG, MARGIN, SUMS) == error_bets.log_value(seen_of(FLAG, SUMS).by_epoch, MARGIN)
    assert harm_log_value(FLAG, MARGIN, SUMS) > 10.0
    assert harm_log_value(FLAG, MARGIN, {}) == 0.0
    again = replace(FLAG, progress=replace(FLAG.progress, step_began_s=1_100.0))  # the same share in another step
    apart = {errors_key(FLAG, 0): (2, 15, 60, 1_500), errors_key(again, 0): (0, 5, 40, 500)}
    assert harm_log_value(FLAG, MARGIN, SUMS | apart) == harm_log_value(FLAG, MARGIN, SUMS)


UNITS = st.lists(
    st.tuples(st.sampled_from([0, 1, 4]), st.sampled_from([FLAG, LATER]), st.booleans(), st.booleans()), max_size=60
)


@given(UNITS, st.integers(1, 4), st.sampled_from([None, 0, 1, 4]), st.randoms(use_true_random=False))
def test_workers_orders_replays_and_folds_give_the_same_bits(replace_sums, units, workers: int, folded, random) -> None:
    def gathered(rows) -> Sums:
        sums: Sums = {}
        for epoch, flag, candidate, failed in rows:
            one = (failed and candidate, failed and not candidate, candidate, not candidate)
            key = errors_key(flag, epoch)
            sums[key] = tuple(map(sum, zip(sums.get(key, (0,) * 4), one, strict=True)))
        return sums

    shuffled = list(units)
    random.shuffle(shuffled)
    sums: Sums = {}
    for worker in range(workers):
        for key, vector in gathered(shuffled[worker::workers]).items():
            sums[key] = tuple(merge(sums.get(key, ()), vector))
    whole = gathered(units)
    assert sums == whole
    asked = None if folded is None else errors_fold(LATER, sums, after_s(folded))
    assert asked is None or replace_sums(sums, asked)
    assert harm_log_value(LATER, MARGIN, sums) == harm_log_value(LATER, MARGIN, whole)
    assert seen_of(LATER, sums).total == seen_of(LATER, whole).total


def test_epochs_are_folded_once_they_are_over_and_not_before(replace_sums) -> None:
    assert errors_fold(FLAG, SUMS, after_s(0) - 1.0) is None
    sums = dict(SUMS)
    expected = [harm_log_value(FLAG, margin, SUMS) for margin in (MARGIN, 0.02)]
    for epoch, left in ((0, 3), (1, 1), (4, 0)):
        asked = errors_fold(LATER, sums, after_s(epoch))
        assert asked is not None
        assert replace_sums(sums, asked)
        assert sum(key.name.startswith("errors.") for key in sums) == left
        assert [harm_log_value(FLAG, margin, sums) for margin in (MARGIN, 0.02)] == expected
        assert seen_of(FLAG, sums).total == seen_of(FLAG, SUMS).total
    assert errors_fold(LATER, sums, after_s(99)) is None


EVENTS = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from([None, FLAG, LATER]), st.integers(0, 3), st.integers(0, 2)),
    max_size=30,
)


@given(EVENTS)
def test_what_comes_after_its_epoch_was_folded_counts_for_the_last_one_that_is(replace_sums, events) -> None:
    """`events`: a fold at the end of an epoch, or units that enter in it, however late. Nothing is lost, or doubled."""
    sums: Sums = {}
    expected: dict[int, dict[int, list[int]]] = {}
    folded = -1
    for epoch, flag, candidate_errors, baseline_errors in events:
        if flag is None:
            asked = errors_fold(LATER, sums, after_s(epoch))
            assert asked is None or replace_sums(sums, asked)
            folded = max((folded, *(each for each in expected if each <= epoch)))
        else:
            row = (candidate_errors, baseline_errors, 4, 4)
            key = errors_key(flag, epoch)
            sums[key] = tuple(merge(sums.get(key, ()), row))
            shares = expected.setdefault(max(epoch, folded), {})
            shares[flag.share_millipct] = merge(shares.get(flag.share_millipct, ()), row)
    counts = {epoch: {share: ErrorCounts(*row) for share, row in rows.items()} for epoch, rows in expected.items()}
    assert seen_of(LATER, sums).total == Seen(-1, ErrorCounts(), counts).total
    assert isclose(
        harm_log_value(LATER, MARGIN, sums), error_bets.log_value(counts, MARGIN), rel_tol=1e-9, abs_tol=1e-9
    )


def test_a_margin_that_is_asked_for_later_begins_there(replace_sums) -> None:
    flag = replace(FLAG, gates=())
    sums = dict(SUMS)
    replace_sums(sums, errors_fold(flag, sums, after_s(1)))
    left = {key: vector for key, vector in sums.items() if key.name.startswith("errors.")}
    assert seen_of(FLAG, sums).total == seen_of(FLAG, SUMS).total
    assert harm_log_value(FLAG, MARGIN, sums) == harm_log_value(FLAG, MARGIN, left) > 0.0
    asked = errors_fold(FLAG, sums | {errors_key(FLAG, 0): (9, 9, 9, 9)}, after_s(1))
    assert asked is not None
    assert list(asked.instead) == ["folded.errors.30"], "nothing to carry over yet"


def test_what_the_former_test_carried_over_is_left_alone(replace_sums) -> None:
    """Logs of twenty ratios: not of these bets. Counts and totals are what they were."""
    head, former = (SumKey("draft", 1, f"folded.errors.30{name}") for name in ("", ".0.005"))
    old = {head: (1, 10, 36, 650, 3_500), former: tuple(vector_of_carried(Carried(1, (9.0,) * 20)))}
    left = {errors_key(LATER, 4): SUMS[errors_key(LATER, 4)]}
    sums = old | left
    assert harm_log_value(LATER, MARGIN, sums) == harm_log_value(LATER, MARGIN, left)
    assert seen_of(LATER, sums).total == seen_of(LATER, SUMS).total
    asked = errors_fold(LATER, sums, after_s(4))
    assert asked is not None
    assert replace_sums(sums, asked)
    assert sums[former] == old[former]
    assert harm_log_value(LATER, MARGIN, sums) == harm_log_value(LATER, MARGIN, left)
    assert len(asked.instead["folded.errors.30.bets1.0.005"]) == 1 + 2 * len(BETS)
