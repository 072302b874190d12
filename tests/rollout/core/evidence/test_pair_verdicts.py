import math

import numpy as np
import pytest
from msgspec.structs import replace

from rollout.core.coverage import ArmCoverage
from rollout.core.evidence import pairs
from rollout.core.evidence.coverage import ShadowCalls, shadow_key
from rollout.core.evidence.ledger import harm_log_value, noninferiority_log_value
from rollout.core.evidence.levels import limit_of
from rollout.core.evidence.pair_verdicts import LOST_ASKED_MIN, verdict_of
from rollout.core.evidence.pairs import OVER, VERSIONS_MAX, replies_key
from rollout.core.evidence.plans import vector_of
from rollout.core.evidence.rollback import attempt_alpha
from rollout.core.gates import Result, Verdict
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey

PROOF = Gate(
    name="as-good", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="judge", margin=0.1
)
HARM = replace(PROOF, name="worse", kind=GateKind.HARM)
FLOOR = replace(PROOF, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.4, direction="higher")
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    gates=(PROOF, HARM),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=1_000.0, step_began_s=2_000.0),
)
EARLIER = replace(FLAG.progress, step_began_s=1_000.0)
NOW_S = 3_000.0
FIRST = attempt_alpha(1.0, 1)
"""What the e-value of a judge's first version counts for."""
Part = tuple[str, int, list[float]]


def even(count: int) -> list[float]:
    return [1.0, 0.0, 0.5] * (count // 3)


def sums_of(*parts: Part, flag: FeatureFlag = FLAG, progress: Progress | None = None, **asked: tuple[int, int]):
    """Wins by (version, epoch); `asked`: (scored, lost) by version."""
    plan = pairs.plan_of(flag)
    assert plan is not None
    began = progress or flag.progress
    sums = {
        pairs.pairs_key("draft", began, plan, version, epoch): vector_of(pairs.gathered(plan, np.array(wins)))
        for version, epoch, wins in parts
    }
    for version, counts in asked.items():
        sums[pairs.replies_key("draft", began, version)] = list(counts)
    return sums


def said(gate: Gate, sums: dict[SumKey, list[int]], flag: FeatureFlag = FLAG) -> Verdict:
    return verdict_of(gate, flag, sums, NOW_S)


def test_a_candidate_that_wins_as_often_is_proven_to() -> None:
    sums = sums_of(("v", 1, even(900)), v=(900, 3))
    fine, worse = said(PROOF, sums), said(HARM, sums)
    assert (fine.result, worse.result) == (Result.PASS, Result.PASS)
    assert fine.limit == pytest.approx(1 / attempt_alpha(0.05, 1))
    plan = pairs.plan_of(FLAG)
    assert plan is not None
    part = pairs.gathered(plan, np.array(even(900)))
    assert fine.value == pytest.approx(math.exp(noninferiority_log_value(plan, 0.1, [part])) * FIRST)
    assert worse.value == pytest.approx(math.exp(harm_log_value(plan, 0.1, {1: part})) * FIRST)
    assert (fine.samples, fine.from_s, fine.at_s, fine.metric) == (900, 2_000.0, NOW_S, "judge")
    shown = fine.estimate
    assert shown is not None
    assert worse.value is not None
    assert shown.effect == 0.0
    assert shown.lower is not None
    assert shown.lower == -shown.upper
    assert (shown.margin, shown.expected_s, shown.harm_value) == (0.1, 0.0, pytest.approx(worse.value / FIRST))
    assert shown.excluded is not None
    assert 0.0 < shown.excluded < -shown.lower  # one side, not two
    assert fine.reason.startswith("win rate less one half +0.0000, between -0.")
    assert fine.reason.endswith("and worse is excluded")


def test_a_candidate_that_loses_is_shown_to() -> None:
    sums = sums_of(("v", 1, [0.0, 0.0, 0.0, 1.0] * 60), v=(240, 0))
    assert (said(PROOF, sums).result, said(HARM, sums).result) == (Result.INCONCLUSIVE, Result.FAIL)
    assert "no margin is excluded yet" in said(PROOF, sums_of(("v", 1, [0.0]))).reason


def test_a_floor_is_harm_below_it() -> None:
    flag = replace(FLAG, gates=(FLOOR,))
    assert said(FLOOR, sums_of(("v", 0, [0.0, 0.0, 0.0, 1.0] * 100), flag=flag), flag).result is Result.FAIL
    fine = said(FLOOR, sums_of(("v", 0, even(300)), flag=flag), flag)
    assert (fine.result, fine.limit) == (Result.PASS, pytest.approx(1 / attempt_alpha(0.05, 1)))


def test_silence_is_no_data_for_all_and_says_what_was_lost() -> None:
    flag = replace(FLAG, gates=(PROOF, HARM, FLOOR))
    for gate in flag.gates:
        nothing = said(gate, {}, flag)
        assert (nothing.result, nothing.reason) == (Result.NO_DATA, "no pair has a score; 0 were lost")
        assert nothing.estimate is not None
        assert nothing.estimate.effect is None
        down = said(gate, sums_of(flag=flag, unknown=(0, 40)), flag)
        assert (down.result, down.reason) == (Result.NO_DATA, "no pair has a score; 40 were lost")


def test_quality_carries_over_if_the_scope_is_the_ramp() -> None:
    sums = sums_of(("v", 0, even(900)), progress=EARLIER)
    assert said(PROOF, sums).result is Result.NO_DATA
    over_all = said(replace(PROOF, scope="ramp"), sums)
    assert (over_all.result, over_all.from_s, over_all.samples) == (Result.PASS, 1_000.0, 900)


def test_harm_of_an_earlier_step_counts_also_while_this_one_is_empty() -> None:
    assert said(HARM, sums_of(("v", 0, [0.0] * 60), progress=EARLIER)).result is Result.FAIL


def test_too_few_pairs_hold() -> None:
    sums = sums_of(("v", 1, even(900)))
    for gate in (PROOF, HARM):
        verdict = said(replace(gate, min_samples=901), sums)
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.reason.startswith("900 of 901 pairs")


def test_proof_is_not_enough_while_harm_is_on_the_rise() -> None:
    fine = said(PROOF, sums_of(("v", 0, even(1_500)), ("v", 9, [0.0] * 20)))
    assert fine.result is Result.INCONCLUSIVE
    assert fine.reason.startswith("proven, but an e-value for harm of")


@pytest.mark.parametrize("wins", [even(900), [0.0] * 900])
@pytest.mark.parametrize("lost", [{"v": (900, 48)}, {"v": (900, 20), "unknown": (0, 28)}])
def test_a_judge_that_loses_answers_says_nothing(wins: list[float], lost: dict[str, tuple[int, int]]) -> None:
    for gate in (PROOF, HARM):
        verdict = said(gate, sums_of(("v", 1, wins), **lost))
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.reason.startswith("the judge loses too many answers: 48 of 948; win rate")
        assert verdict.value is None, "so that it has no part in what all gates say together"


@pytest.mark.parametrize(("asked", "result"), [((900, 47), "PASS"), ((0, LOST_ASKED_MIN - 1), "PASS")])
def test_a_few_may_be_lost(asked: tuple[int, int], result: str) -> None:
    assert said(PROOF, sums_of(("v", 1, even(900)), v=asked)).result == result


def test_a_changed_judge_begins_afresh_with_a_smaller_part_of_alpha() -> None:
    old = ("old", 0, even(900))
    early = said(PROOF, sums_of(old, ("new", 5, even(30))))
    assert (early.result, early.samples) == (Result.INCONCLUSIVE, 30)
    second = said(PROOF, sums_of(old, ("new", 5, even(900))))
    assert second.result is Result.PASS
    alone = said(PROOF, sums_of(("new", 5, even(900))))
    assert second.value == pytest.approx((alone.value or 0.0) / 4)


def test_what_a_replaced_judge_lost_is_forgotten_with_it() -> None:
    sums = sums_of(("old", 0, even(900)), ("new", 5, even(900)), old=(900, 500), new=(900, 1))
    assert said(PROOF, sums).result is Result.PASS


def test_margins_are_wider_while_the_share_is_small() -> None:
    gate = replace(PROOF, early=(EarlyMargin(5_000, 0.3),))
    flag = replace(FLAG, gates=(gate,))
    sums = sums_of(("v", 1, even(90)), flag=flag)
    assert said(gate, sums, flag).result is Result.PASS
    later = said(gate, sums, replace(flag, share_millipct=5_000))
    assert later.result is Result.INCONCLUSIVE
    assert later.estimate is not None
    assert later.estimate.margin == 0.1


def test_limits_are_those_of_all_gates() -> None:
    gates = (HARM, replace(HARM, name="more", margin=0.2, alpha=None), FLOOR, PROOF)
    flag = replace(FLAG, gates=gates, progress=replace(FLAG.progress, attempt=3))
    for gate in gates:
        assert said(gate, {}, flag).limit == limit_of(gate, flag)


def test_a_step_that_has_just_begun_cannot_say_when_it_is_decided() -> None:
    assert "decided" not in verdict_of(PROOF, FLAG, sums_of(("v", 1, even(30))), 2_000.0).reason


def test_an_e_value_is_finite_however_clear_the_case() -> None:
    value = said(HARM, sums_of(("v", 1, [0.0] * 20_000))).value
    assert value is not None
    assert math.isfinite(value)


def test_what_cannot_be_judged_is_an_error() -> None:
    damaged = {key: vector[:-1] for key, vector in sums_of(("v", 1, even(30))).items()}
    assert said(PROOF, damaged).result is Result.ERROR
    assert said(replace(PROOF, margin=None), {}).result is Result.ERROR
    assert said(PROOF, {}, replace(FLAG, gates=())).result is Result.ERROR
    wide = replace(PROOF, margin=0.7)
    assert said(wide, {}, replace(FLAG, gates=(wide,))).reason == "a win rate can't be 0.7 below one half"


def test_a_candidate_that_fails_in_shadow_is_not_proven_by_the_pairs_there_are() -> None:
    flag = replace(FLAG, gates=(PROOF, HARM, FLOOR))
    sums = sums_of(("v", 1, even(900)), v=(900, 0), flag=flag)
    key = shadow_key("draft", flag.progress)
    few, many = sums | {key: [*ShadowCalls(950, 50)]}, sums | {key: [*ShadowCalls(949, 51)]}
    assert [said(gate, few, flag).result for gate in flag.gates] == [Result.PASS] * 3
    passed, unknown = Result.PASS, Result.INCONCLUSIVE
    assert [said(gate, many, flag).result for gate in flag.gates] == [unknown, passed, unknown]
    found = said(PROOF, many, flag)
    assert found.reason.startswith("51 of 1000 shadow calls of the candidate failed, 5.1%, at most 5%; win rate")
    assert found.coverage is not None
    assert found.coverage.candidate == ArmCoverage(949, 51)
    of_step_before = sums | {shadow_key("draft", EARLIER): [*ShadowCalls(949, 51)]}
    assert said(PROOF, of_step_before, flag).result is passed
    assert said(replace(PROOF, scope="ramp"), of_step_before, flag).result is unknown


def test_one_that_answers_nothing_at_all_is_seen() -> None:
    found = said(PROOF, {shadow_key("draft", FLAG.progress): [*ShadowCalls(candidate_failed=12)]})
    reason = "12 of 12 shadow calls of the candidate failed, 100.0%, at most 5%; no pair has a score; 0 were lost"
    assert (found.result, found.reason) == (Result.NO_DATA, reason)


def test_too_many_versions_are_told() -> None:
    flag = replace(FLAG, gates=(PROOF, HARM, FLOOR))
    sums = sums_of(("v", 1, even(900)), v=(900, 0), flag=flag)
    over = sums | {replies_key("draft", flag.progress, OVER): [0, 7]}
    more = sums_of(*((f"v{number}", 1, even(900)) for number in range(VERSIONS_MAX + 1)), flag=flag)
    for given, missing in ((over, 7), (more, 0)):
        found = said(PROOF, given, flag)
        assert found.result is said(FLOOR, given, flag).result is Result.INCONCLUSIVE
        assert f"more than 8 versions, {missing} pairs of the latest are not counted: begin another" in found.reason
        assert said(HARM, given, flag).result is Result.PASS
    assert said(PROOF, {replies_key("draft", flag.progress, OVER): [0, 7]}, flag).result is Result.NO_DATA
