import pytest
from msgspec.structs import replace

from rollout.core.evidence.error_harm import errors_fold, harm_log_value
from rollout.core.evidence.error_interval import counted
from rollout.core.evidence.plans import EPOCH_S, errors_key
from rollout.core.gates import Estimate
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Progress, Role
from rollout.core.sums import SumKey

MARGIN, LEVEL = 0.005, 0.01
HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=MARGIN)
BEGAN_S = 1_000.0
FLAG = FeatureFlag(
    feature="draft",
    candidate="a",
    baseline="b",
    share_millipct=50_000,
    gates=(HARM,),
    progress=Progress(attempt=1, ramp_began_s=BEGAN_S, step_began_s=BEGAN_S),
)
EARLY = replace(FLAG, share_millipct=1_000)
Sums = dict[SumKey, tuple[int, ...]]


def told(sums: Sums, epoch: int, *, shown: bool = False) -> tuple[Estimate, str]:
    """At the end of this epoch."""
    found = counted(FLAG, MARGIN, sums, LEVEL, BEGAN_S + (epoch + 1) * EPOCH_S, shown=shown)
    assert found is not None
    estimate, text = found
    assert estimate.effect is not None
    assert estimate.lower is not None
    assert estimate.upper is not None
    assert -1.0 <= estimate.lower <= estimate.effect <= estimate.upper <= 1.0
    return estimate, text


def test_before_both_arms_have_units_there_is_nothing_to_tell() -> None:
    assert counted(FLAG, MARGIN, {}, LEVEL, 2_000.0, shown=False) is None
    assert counted(FLAG, MARGIN, {errors_key(FLAG, 0): (3, 0, 5, 0)}, LEVEL, 2_000.0, shown=False) is None


def test_arms_alike_have_no_effect_and_what_is_ruled_out_is_said() -> None:
    estimate, text = told({errors_key(FLAG, 0): (40, 40, 4_000, 4_000)}, 0)
    assert estimate.effect == 0.0
    assert estimate.upper > 0.0
    assert estimate.excluded == -estimate.lower
    assert (estimate.since_s, estimate.margin) == (BEGAN_S, pytest.approx(MARGIN))
    assert text.startswith("40 of 4000 units of the candidate failed, 40 of 4000 of the baseline in this ramp; effect ")
    assert text.endswith("harm is more than 1.5 times the baseline's errors")


def test_a_margin_below_a_quarter_of_the_baselines_errors_is_that_quarter() -> None:
    sums = {errors_key(FLAG, 0): (400, 400, 4_000, 4_000), errors_key(FLAG, 1): (1, 1, 10, 10)}
    estimate, text = told(sums, 1)
    assert estimate.margin == pytest.approx(0.25 * 400.5 / 4_050)
    assert text.endswith("more than 1.25 times the baseline's errors")


def test_nothing_failed_rules_nothing_out() -> None:
    estimate, _ = told({errors_key(FLAG, 0): (0, 0, 100, 100)}, 0)
    assert (estimate.effect, estimate.lower, estimate.upper, estimate.excluded) == (0.0, -1.0, 1.0, None)


def test_shares_are_compared_each_by_itself() -> None:
    """At 1 % the day was good, at 50 % bad for both: pooled, the candidate would look worse."""
    sums = {errors_key(EARLY, 0): (1, 99, 100, 9_900), errors_key(FLAG, 1): (500, 500, 5_000, 5_000)}
    assert told(sums, 1)[0].effect == pytest.approx(0.0)


def test_harm_that_began_lately_is_shown_since_it_did() -> None:
    sums = {errors_key(FLAG, epoch): (10, 10, 1_000, 1_000) for epoch in range(40)}
    assert told(sums, 39)[0].since_s == BEGAN_S
    sums |= {errors_key(FLAG, 40): (90, 10, 1_000, 1_000)}
    estimate, text = told(sums, 40)
    assert estimate.since_s == BEGAN_S + 40 * EPOCH_S
    assert text.startswith("90 of 1000 units of the candidate failed, 10 of 1000 of the baseline in the last 2 min; ")
    assert estimate.effect == pytest.approx(-0.08)


def test_it_never_contradicts_what_all_starts_together_have_shown() -> None:
    sums = {errors_key(FLAG, 0): (40, 10, 1_000, 1_000)}
    shown, not_shown = told(sums, 0, shown=True)[0], told(sums, 0)[0]
    assert shown.margin == not_shown.margin == pytest.approx(MARGIN)
    assert shown.upper == pytest.approx(-MARGIN)
    assert not_shown.upper is not None
    assert not_shown.upper > -MARGIN
    clear = {errors_key(FLAG, 0): (400, 10, 1_000, 1_000)}
    assert told(clear, 0)[0].upper == pytest.approx(-MARGIN)


def test_it_is_the_same_whatever_is_folded(replace_sums) -> None:
    sums: Sums = {}
    for epoch in range(20):
        sums |= {errors_key(EARLY, epoch): (1, epoch, 10, 900), errors_key(FLAG, epoch): (epoch, 4, 200, 210)}
    expected, folded = told(sums, 20), dict(sums)
    while asked := errors_fold(FLAG, folded, BEGAN_S + 21 * EPOCH_S):
        assert replace_sums(folded, asked)
    assert len(folded) < len(sums)
    assert told(folded, 20) == expected
    assert told(folded | {errors_key(FLAG, 0): (9, 9, 9, 9)}, 20) == expected  # what comes too late
    assert harm_log_value(FLAG, MARGIN, folded) == harm_log_value(FLAG, MARGIN, sums)


def test_what_an_older_program_folded_is_not_taken_for_all(replace_sums) -> None:
    """It kept no counts by share: what is left begins with what was not folded."""
    sums: Sums = {errors_key(FLAG, epoch): (9, 4, 200, 210) for epoch in range(20)}
    asked = errors_fold(FLAG, sums, BEGAN_S + 20 * EPOCH_S)
    assert asked is not None
    replace_sums(sums, asked)
    older = {key: vector for key, vector in sums.items() if ".shares." not in key.name}
    assert told(sums, 19)[0].since_s == BEGAN_S
    assert told(older, 19)[0].since_s > BEGAN_S
    late = counted(FLAG, MARGIN, older, LEVEL, 1e6, shown=False)
    assert late is None
