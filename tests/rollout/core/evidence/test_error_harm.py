import pytest
from msgspec.structs import replace

from rollout.core.evidence import counts
from rollout.core.evidence.counts import ArmCounts, allowed_ratio
from rollout.core.evidence.error_harm import RATIO, errors_fold, harm_log_value, seen_of
from rollout.core.evidence.plans import EPOCH_S, ErrorCounts, errors_key
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Progress, Role
from rollout.core.sums import SumKey

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
    assert seen.arms == {
        0: ArmCounts(((5_000, 2, 20),)),
        1: ArmCounts(((5_000, 3, 10), (50_000, 5, 6))),
        4: ArmCounts(((50_000, 90, 6),)),
    }
    assert seen.total == ErrorCounts(100, 42, 1_150, 4_000)
    assert seen_of(FLAG, {}).total == ErrorCounts()


def test_what_is_no_harm_is_what_the_baseline_did_before() -> None:
    allowed = {
        0: allowed_ratio(0, 49, RATIO, MARGIN),
        1: allowed_ratio(20, 2_049, RATIO, MARGIN),
        4: allowed_ratio(36, 3_549, RATIO, MARGIN),
    }
    assert allowed[0] == pytest.approx(1.5)  # of a baseline that nobody knows yet: 1 % of errors
    assert harm_log_value(FLAG, MARGIN, SUMS) == counts.harm_log_value(seen_of(FLAG, SUMS).arms, allowed)
    assert harm_log_value(FLAG, MARGIN, SUMS) > 10.0
    assert harm_log_value(FLAG, MARGIN, {}) == 0.0


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


def test_what_comes_after_its_epoch_was_folded_counts_for_nothing(replace_sums) -> None:
    sums = dict(SUMS)
    replace_sums(sums, errors_fold(FLAG, sums, after_s(1)))
    late = sums | {errors_key(FLAG, 1): (9, 9, 9, 9)}
    assert seen_of(FLAG, late) == seen_of(FLAG, sums)
    asked = errors_fold(FLAG, late, after_s(1))
    assert asked is not None
    assert replace_sums(late, asked)
    assert late == sums


def test_what_was_carried_over_with_other_weights_of_epochs_is_not_gone_on_with(replace_sums) -> None:
    sums = dict(SUMS)
    replace_sums(sums, errors_fold(FLAG, sums, after_s(1)))
    former = {
        key._replace(name=key.name.removesuffix(".2")) if f".{MARGIN:g}." in key.name else key: vector
        for key, vector in sums.items()
    }
    without = {key: vector for key, vector in sums.items() if f".{MARGIN:g}." not in key.name}
    assert len(former) == len(without) + 1
    assert harm_log_value(FLAG, MARGIN, former) == harm_log_value(FLAG, MARGIN, without)
    assert harm_log_value(FLAG, MARGIN, former) != harm_log_value(FLAG, MARGIN, sums)


def test_a_margin_that_is_asked_for_later_begins_there(replace_sums) -> None:
    flag = replace(FLAG, gates=())
    sums = dict(SUMS)
    replace_sums(sums, errors_fold(flag, sums, after_s(1)))
    left = {key: vector for key, vector in sums.items() if key.name.startswith("errors.")}
    assert seen_of(FLAG, sums).total == seen_of(FLAG, SUMS).total
    assert harm_log_value(FLAG, MARGIN, sums) > harm_log_value(FLAG, MARGIN, left) > 0.0
