import math

import pytest
from msgspec.structs import replace

from rollout.core.evidence.ledger import gathered, harm_log_value, noninferiority_log_value
from rollout.core.evidence.plans import EPOCH_S, epoch_of, key_of, plans_of, prefix_of, vector_of
from rollout.core.evidence.rollback import attempt_alpha
from rollout.core.evidence.verdicts import HARM_WARNS, verdict_of, verdicts_of
from rollout.core.gates import Result, judge
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey

HARM = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.05, alpha=0.05
)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=50_000,
    gates=(HARM, PROOF),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=1_000.0, step_began_s=2_000.0),
)
PLAN = plans_of(FLAG)["errors"]
NOW_S = 3_000.0
EARLIER = replace(FLAG.progress, step=0, step_began_s=1_000.0)
Rows = list[tuple[int, bool, float, float]]


def rows(count: int, bad_candidate: int = 0, bad_baseline: int = 0) -> Rows:
    """`count` units of each arm, so many of them failed."""
    made: Rows = []
    for number in range(count):
        made.append((50_000, True, float(number >= bad_candidate), 0.99))
        made.append((50_000, False, float(number >= bad_baseline), 0.99))
    return made


@pytest.fixture
def sums(units):
    def add_up(*parts: tuple[Progress, float, Rows], flag: FeatureFlag = FLAG) -> dict[SumKey, list[int]]:
        plan = plans_of(flag)["errors"]
        prefix = prefix_of("errors", plan)
        return {
            key_of("draft", progress, prefix, epoch_of(progress, entered_s)): vector_of(gathered(plan, units(made)))
            for progress, entered_s, made in parts
        }

    return add_up


def test_a_candidate_that_does_as_well_is_proven_and_no_harm_is_shown(sums) -> None:
    found = verdicts_of(FLAG, sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30))), NOW_S)
    fine, worse = found["fine"], found["worse"]
    assert (fine.result, worse.result) == (Result.PASS, Result.PASS)
    assert fine.limit == pytest.approx(math.pi**2 / 6 / 0.05)
    assert fine.value is not None
    assert fine.limit is not None
    assert fine.value >= fine.limit
    assert fine.samples == 6_000
    assert fine.reason.startswith("effect +0.0000, between -0.")
    assert "margin 0.05" in fine.reason
    assert "and worse is excluded, decided in about 0 s" in fine.reason


def test_a_candidate_that_fails_more_often_is_shown_to(sums) -> None:
    found = verdicts_of(FLAG, sums((FLAG.progress, 2_100.0, rows(300, 90, 3))), NOW_S)
    assert (found["fine"].result, found["worse"].result) == (Result.INCONCLUSIVE, Result.FAIL)
    assert "effect -0.29" in found["worse"].reason
    assert "no margin is excluded yet" in found["fine"].reason or "excluded" in found["fine"].reason
    assert "decided" not in found["fine"].reason


def test_values_are_those_of_the_ledger(units, sums) -> None:
    early, late = rows(100, 5, 1), rows(200, 3, 2)
    given = sums((EARLIER, 1_000.0, early), (FLAG.progress, 1_000.0 + EPOCH_S, late), (FLAG.progress, 1_500.0, late))
    by_epoch = {0: gathered(PLAN, units(early + late)), 1: gathered(PLAN, units(late))}
    worse = verdict_of(HARM, FLAG, given, NOW_S)
    assert worse.value == pytest.approx(math.exp(harm_log_value(PLAN, 0.05, by_epoch)))
    fine = verdict_of(PROOF, FLAG, given, NOW_S)
    assert fine.value == pytest.approx(
        math.exp(noninferiority_log_value(PLAN, 0.05, [gathered(PLAN, units(2 * late))]))
    )
    assert fine.samples == 800
    over_all = verdict_of(replace(PROOF, scope="ramp"), FLAG, given, NOW_S)
    assert over_all.samples == 1_000
    assert (fine.from_s, over_all.from_s) == (2_000.0, 1_000.0)


def test_silence_is_no_data_for_both_kinds(sums) -> None:
    for given in ({}, sums((EARLIER, 1_000.0, rows(500)))):
        for verdict in verdicts_of(FLAG, given, NOW_S).values():
            assert verdict.result is Result.NO_DATA
            assert verdict.reason == "0 of 1 units; no unit has come of age"


def test_harm_of_an_earlier_step_counts_also_while_this_one_is_empty(sums) -> None:
    assert verdict_of(HARM, FLAG, sums((EARLIER, 1_000.0, rows(300, 90))), NOW_S).result is Result.FAIL


def test_too_few_units_hold(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30)))
    for gate in (replace(HARM, min_samples=6_001), replace(PROOF, min_samples=6_001)):
        verdict = verdict_of(gate, FLAG, given, NOW_S)
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.reason.startswith("6000 of 6001 units")


def test_proof_is_not_enough_while_harm_is_on_the_rise(sums) -> None:
    """Long fine, then failing: the proof still stands, the restarted harm process warns."""
    late = (FLAG.progress, 1_000.0 + 10 * EPOCH_S, rows(90, 36))
    fine = verdict_of(PROOF, FLAG, sums((FLAG.progress, 2_100.0, rows(5_000)), late), NOW_S)
    assert fine.result is Result.INCONCLUSIVE
    assert fine.value is not None
    assert fine.limit is not None
    assert fine.value >= fine.limit
    assert fine.reason.startswith("proven, but an e-value for harm of")
    assert HARM_WARNS > 1


def test_gates_of_harm_share_one_alpha_and_attempts_another(sums) -> None:
    gates = (HARM, replace(HARM, name="much worse", margin=0.1), PROOF)
    flag = replace(FLAG, gates=gates, progress=replace(FLAG.progress, attempt=3))
    limits = {name: each.limit for name, each in verdicts_of(flag, {}, NOW_S).items()}
    assert limits["fine"] == pytest.approx(1 / attempt_alpha(0.05, 3))
    assert limits["worse"] == limits["much worse"] == pytest.approx(2 / attempt_alpha(0.05, 3))


def test_an_e_value_is_finite_however_clear_the_case(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(20_000, 20_000)))
    verdict = verdict_of(HARM, FLAG, given, NOW_S)
    assert verdict.value is not None
    assert math.isfinite(verdict.value)
    assert judge(HARM, verdict, now_s=NOW_S, since_s=2_000.0) == verdict


def test_what_cannot_be_judged_is_an_error(sums) -> None:
    unknown = replace(HARM, name="other", metric="judge")
    assert verdict_of(unknown, FLAG, {}, NOW_S).result is Result.ERROR
    assert verdict_of(replace(HARM, margin=0.2), FLAG, {}, NOW_S).result is Result.ERROR
    assert verdict_of(replace(HARM, margin=None), FLAG, {}, NOW_S).result is Result.ERROR
    given = {key: vector[:-1] for key, vector in sums((FLAG.progress, 2_100.0, rows(2))).items()}
    damaged = verdict_of(HARM, FLAG, given, NOW_S)
    assert (damaged.result, damaged.reason) == (Result.ERROR, "the store's sums are not of this plan")


def test_gates_of_other_sources_are_not_answered_for() -> None:
    assert verdicts_of(replace(FLAG, gates=(replace(HARM, source="promql"),)), {}, NOW_S) == {}


def test_a_step_that_has_just_begun_cannot_say_when_it_is_decided(sums) -> None:
    verdict = verdict_of(PROOF, FLAG, sums((FLAG.progress, 2_100.0, rows(5))), 2_000.0)
    assert "decided" not in verdict.reason
