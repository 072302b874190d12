import math

import pytest
from msgspec.structs import replace

from rollout.core.evidence import verdicts
from rollout.core.evidence.error_harm import harm_log_value as errors_log_value
from rollout.core.evidence.ledger import floor_log_value, gathered, harm_log_value, noninferiority_log_value
from rollout.core.evidence.levels import limit_of
from rollout.core.evidence.plans import EPOCH_S, epoch_of, errors_key, key_of, series_of, vector_of
from rollout.core.evidence.rollback import HARM_WARNS
from rollout.core.evidence.verdicts import verdict_of, verdicts_of
from rollout.core.gates import Estimate, Result, Verdict, judge
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Evidence, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05, alpha=0.05)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY)
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1)
SLOW = replace(PROOF, name="fast", metric="ttft_p95", margin=0.1, early=(EarlyMargin(60_000, 0.3),))
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=50_000,
    gates=(HARM, PROOF),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=1_000.0, step_began_s=2_000.0),
)
NOW_S = 3_000.0
EARLIER = replace(FLAG.progress, step=0, step_began_s=1_000.0)
Rows = list[tuple[int, bool, float, float]]


def asking(*gates: Gate, **changes: object) -> FeatureFlag:
    return replace(FLAG, gates=gates, **changes)


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
        found: dict[SumKey, list[int]] = {}
        for progress, entered_s, made in parts:
            epoch = epoch_of(progress, entered_s)
            for series in series_of(flag):
                key = key_of("draft", progress, series.prefix, epoch)
                found[key] = vector_of(gathered(series.plan, units(made)))
            arms = [[row for row in made if row[1] is candidate] for candidate in (True, False)]
            errors = [sum(row[2] == 0.0 for row in arm) for arm in arms]
            found[errors_key(replace(flag, progress=progress), epoch)] = [*errors, *map(len, arms)]
        return found

    return add_up


def numbers(verdict: Verdict) -> tuple[float, float, Estimate]:
    assert verdict.value is not None
    assert verdict.limit is not None
    assert verdict.estimate is not None
    return verdict.value, verdict.limit, verdict.estimate


def test_a_candidate_that_does_as_well_is_proven_and_no_harm_is_shown(sums) -> None:
    found = verdicts_of(FLAG, sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30))), NOW_S)
    fine, worse = found["fine"], found["worse"]
    assert (fine.result, worse.result) == (Result.PASS, Result.PASS)
    value, limit, estimate = numbers(fine)
    assert limit == pytest.approx(math.pi**2 / 6 / 0.05)
    assert value >= limit
    assert fine.samples == 6_000
    assert fine.reason.startswith("effect +0.0000, between -0.")
    assert "margin 0.05" in fine.reason
    assert fine.reason.endswith("and worse is excluded")
    assert (estimate.effect, estimate.margin, estimate.expected_s) == (pytest.approx(0.0), 0.05, 0.0)
    assert estimate.lower is not None
    assert estimate.excluded == pytest.approx(-estimate.lower, rel=0.2)
    assert estimate.harm_value == worse.value
    assert numbers(worse)[2].expected_s is None


def test_a_candidate_that_fails_more_often_is_shown_to(sums) -> None:
    found = verdicts_of(FLAG, sums((FLAG.progress, 2_100.0, rows(300, 90, 3))), NOW_S)
    assert (found["fine"].result, found["worse"].result) == (Result.INCONCLUSIVE, Result.FAIL)
    assert "effect -0.29" in found["worse"].reason
    assert "decided" not in found["fine"].reason


def test_values_are_those_of_the_ledger(units, sums) -> None:
    (series,) = series_of(FLAG)
    early, late = rows(100, 5, 1), rows(200, 3, 2)
    given = sums((EARLIER, 1_000.0, early), (FLAG.progress, 1_000.0 + EPOCH_S, late), (FLAG.progress, 1_050.0, late))
    by_epoch = {0: gathered(series.plan, units(early + late)), 1: gathered(series.plan, units(late))}
    worse = verdict_of(HARM, FLAG, given, NOW_S)
    assert worse.value == pytest.approx(math.exp(harm_log_value(series.plan, 0.05, by_epoch)))
    fine = verdict_of(PROOF, FLAG, given, NOW_S)
    of_step = gathered(series.plan, units(2 * late))
    assert fine.value == pytest.approx(math.exp(noninferiority_log_value(series.plan, 0.05, [of_step])))
    assert fine.samples == 800
    over_all = verdict_of(replace(PROOF, scope="ramp"), FLAG, given, NOW_S)
    assert over_all.samples == 1_000
    assert (fine.from_s, over_all.from_s) == (2_000.0, 1_000.0)


def test_the_margin_asked_is_that_of_the_share_and_harm_is_beyond_the_final_one(sums) -> None:
    proof = replace(PROOF, early=(EarlyMargin(60_000, 0.2),))
    flag = asking(proof)
    given = sums((FLAG.progress, 2_100.0, rows(300, 27, 3)), flag=flag)
    early = verdict_of(proof, flag, given, NOW_S)
    assert early.result is Result.PASS
    assert numbers(early)[2].margin == 0.2
    late = verdict_of(proof, replace(flag, share_millipct=60_000), given, NOW_S)
    assert late.result is Result.INCONCLUSIVE
    assert numbers(late)[2].margin == 0.05
    assert numbers(late)[2].harm_value == numbers(early)[2].harm_value


def test_errors_are_harm_by_their_counts(sums) -> None:
    harm, proof = replace(HARM, metric="errors"), replace(PROOF, metric="errors")
    flag = asking(harm, proof)
    given = sums((FLAG.progress, 2_100.0, rows(500, 100, 3)), flag=flag)
    found = verdicts_of(flag, given, NOW_S)
    assert found["worse"].value == math.exp(errors_log_value(flag, 0.05, given))
    assert verdict_of(harm, flag, {}, NOW_S).reason == "0 of 1 units; no unit has come of age"
    assert found["worse"].result is Result.FAIL
    assert numbers(found["fine"])[2].harm_value == found["worse"].value
    assert numbers(found["worse"])[2].effect == pytest.approx(-0.194)


def test_latency_is_asked_for_the_share_of_answers_in_time(sums) -> None:
    harm = replace(HARM, metric="ttft_p95", margin=0.1)
    flag = asking(SLOW, harm)
    given = sums((FLAG.progress, 2_100.0, rows(3_000, 20, 150)), flag=flag)
    found = verdicts_of(flag, given, NOW_S)
    assert (found["fast"].result, found["worse"].result) == (Result.PASS, Result.PASS)
    estimate = numbers(found["fast"])[2]
    assert (estimate.margin, estimate.excluded) == (0.3, 0.1)
    assert "margin +30% of the baseline's time, +10% and slower is excluded" in found["fast"].reason
    slow = verdicts_of(flag, sums((FLAG.progress, 2_100.0, rows(300, 100, 15)), flag=flag), NOW_S)
    assert (slow["fast"].result, slow["worse"].result) == (Result.INCONCLUSIVE, Result.FAIL)
    assert "no margin is excluded yet" in slow["fast"].reason


def test_a_margin_is_excluded_only_with_all_larger_ones(sums) -> None:
    """Each margin is a chance to be wrong at; from the largest down to the first doubt they are one chance."""
    flag = asking(SLOW)
    fine, poor = (sums((FLAG.progress, 2_100.0, rows(3_000, bad, 150)), flag=flag) for bad in (20, 150))
    wider = {each.prefix for each in series_of(flag) if each.margin == 0.3}
    mixed = fine | {key: row for key, row in poor.items() if key.name.rsplit(".", 2)[0] in wider}
    assert numbers(verdict_of(SLOW, flag, fine, NOW_S))[2].excluded == 0.1
    assert numbers(verdict_of(SLOW, flag, mixed, NOW_S))[2].excluded is None


def test_a_floor_is_about_the_candidate_alone(sums, units) -> None:
    flag = asking(FLOOR)
    (series,) = series_of(flag)
    down = sums((FLAG.progress, 2_100.0, rows(300, 90, 300)), flag=flag)
    verdict = verdict_of(FLOOR, flag, down, NOW_S)
    assert verdict.result is Result.FAIL
    made = gathered(series.plan, units(rows(300, 90, 300)))
    assert verdict.value == pytest.approx(
        math.exp(floor_log_value(series.plan, 0.9, {epoch_of(FLAG.progress, 2_100.0): made}))
    )
    assert (verdict.samples, verdict.reason) == (300, "at least 0.9 of the candidate's are to be good")
    kept = verdict_of(FLOOR, flag, sums((FLAG.progress, 2_100.0, rows(300, 20)), flag=flag), NOW_S)
    assert kept.result is Result.PASS


def test_a_floor_of_errors_knows_the_rate(sums) -> None:
    floor = replace(FLOOR, metric="errors")
    flag = asking(floor)
    verdict = verdict_of(floor, flag, sums((FLAG.progress, 2_100.0, rows(200, 10)), flag=flag), NOW_S)
    assert numbers(verdict)[2].effect == 0.95
    assert "at least 0.9 of the candidate's are to be good, 0.9500 are" in verdict.reason
    assert numbers(verdict_of(floor, flag, {}, NOW_S))[2].effect is None


def test_a_floor_of_latency_says_within_what_time(sums) -> None:
    floor = replace(FLOOR, metric="total_p95", limit=20.0)
    flag = asking(floor)
    verdict = verdict_of(floor, flag, sums((FLAG.progress, 2_100.0, rows(200, 10)), flag=flag), NOW_S)
    assert verdict.reason == "at least 0.95 of the candidate's are to be within 20 s"


def test_gates_that_share_alpha_stop_the_ramp_together(sums) -> None:
    """No one of them would: each has a third of alpha."""
    gates = tuple(
        replace(HARM, name=name, metric=metric) for name, metric in (("a", "form"), ("b", "form"), ("c", "form"))
    )
    flag = asking(*gates)
    for bad in range(20, 90):
        found = verdicts_of(flag, sums((FLAG.progress, 2_100.0, rows(300, bad, 3)), flag=flag), NOW_S)
        if any(each.result is Result.FAIL for each in found.values()):
            break
    failed = [each for each in found.values() if each.result is Result.FAIL]
    assert len(failed) == 1
    value, limit, _ = numbers(failed[0])
    alone = [each.value for each in found.values() if each is not failed[0]]
    assert alone == [pytest.approx(value)] * 2
    assert limit == pytest.approx(math.pi**2 / 6 / 0.05)
    assert limit <= value < 3 * limit
    assert failed[0].reason.startswith("together with ")
    assert f" of {limit:.4g} ({value:.4g} of {3 * limit:.4g} alone); effect" in failed[0].reason


def test_harm_of_one_gate_alone_needs_its_part_of_alpha(sums) -> None:
    flag = asking(HARM, replace(HARM, name="errors", metric="errors"), PROOF)
    found = verdicts_of(flag, sums((FLAG.progress, 2_100.0, rows(200, 3, 3)), flag=flag), NOW_S)
    assert numbers(found["worse"])[1] == pytest.approx(5 * math.pi**2 / 6 / 0.05)
    assert numbers(found["errors"])[1] == pytest.approx(1.25 * math.pi**2 / 6 / 0.05)
    assert {each.result for each in found.values()} == {Result.PASS, Result.INCONCLUSIVE}


def test_a_ramp_that_has_yet_to_begin_is_not_judged_by_the_attempt_before_it(sums) -> None:
    """Ended and created anew it is READY under the old attempt's number, often with another candidate."""
    given = sums((FLAG.progress, 2_100.0, rows(300, 90, 3)))
    assert verdicts_of(FLAG, given, NOW_S)["worse"].result is Result.FAIL
    assert verdicts_of(replace(FLAG, progress=Progress(phase=Phase.READY, attempt=1)), given, NOW_S) == {}


def test_silence_is_no_data(sums) -> None:
    flag = asking(HARM, PROOF, FLOOR)
    for given in ({}, sums((EARLIER, 1_000.0, rows(500)), flag=flag)):
        for verdict in verdicts_of(flag, given, NOW_S).values():
            assert verdict.result is Result.NO_DATA
            assert verdict.reason.startswith("0 of 1 units; ")


def test_what_nobody_has_rated_is_not_proven(sums) -> None:
    rated = replace(PROOF, metric="thumbs")
    flag = asking(rated)
    unrated = [(50_000, number % 2 == 0, 0.5, 0.5) for number in range(2_000)]
    silent = verdict_of(rated, flag, sums((FLAG.progress, 2_500.0, unrated), flag=flag), NOW_S)
    assert silent.value is not None
    assert silent.value > limit_of(rated, flag)
    assert (silent.result, silent.reason.partition("; ")[2]) == (Result.INCONCLUSIVE, "nobody has rated an answer")
    some = sums((FLAG.progress, 2_500.0, [*unrated, (50_000, True, 1.0, 0.5), (50_000, False, 1.0, 0.5)]), flag=flag)
    assert verdict_of(rated, flag, some, NOW_S).reason.startswith("0 of 30 rated units of the candidate; effect")


def test_before_the_first_unit_can_be_of_age_silence_is_no_fault() -> None:
    proof = replace(PROOF, metric="thumbs")
    flag = asking(proof, evidence=Evidence(feedback_age="30m"))
    early, late = (verdict_of(proof, flag, {}, 2_000.0 + each) for each in (1_859.0, 1_861.0))
    assert (early.result, late.result) == (Result.INCONCLUSIVE, Result.NO_DATA)
    assert early.reason == "units are looked at 1800 s after they arrived"
    assert judge(proof, early, now_s=3_859.0, since_s=2_000.0) == early


def test_harm_of_an_earlier_step_counts_also_while_this_one_is_empty(sums) -> None:
    assert verdict_of(HARM, FLAG, sums((EARLIER, 1_000.0, rows(300, 90))), NOW_S).result is Result.FAIL


@pytest.mark.parametrize(("share", "who"), [(0, "baseline"), (100_000, "candidate")])
def test_where_nothing_is_drawn_nothing_is_asked(sums, share: int, who: str) -> None:
    flag = asking(HARM, PROOF, share_millipct=share)
    for gate in flag.gates:
        verdict = verdict_of(gate, flag, {}, NOW_S)
        assert (verdict.result, verdict.reason) == (Result.PASS, f"not asked: everybody has the {who}")
        assert judge(gate, verdict, now_s=NOW_S, since_s=2_000.0) == verdict
    shown = sums((EARLIER, 1_000.0, rows(300, 90)), flag=flag)
    for each in (flag, replace(flag, bucket_by=UnitKind.USER)):
        assert verdict_of(HARM, each, {}, NOW_S).result is Result.PASS
        assert verdict_of(HARM, each, shown, NOW_S).result is Result.FAIL  # what was shown before stays shown


def test_a_floor_is_asked_where_everybody_has_the_candidate(units) -> None:
    everybody, nobody = asking(FLOOR, share_millipct=100_000), asking(FLOOR, share_millipct=0)
    assert verdict_of(FLOOR, nobody, {}, NOW_S).reason == "not asked: everybody has the baseline"
    assert verdict_of(FLOOR, everybody, {}, NOW_S).result is not Result.PASS
    drawn = units(rows(300, 90))
    alone = drawn._replace(share_millipct=drawn.share_millipct * 0 + 100_000, candidate=drawn.candidate | True)
    (series,) = series_of(everybody)
    key = key_of("draft", everybody.progress, series.prefix, epoch_of(everybody.progress, 2_100.0))
    verdict = verdict_of(FLOOR, everybody, {key: vector_of(gathered(series.plan, alone))}, NOW_S)
    assert (verdict.result, verdict.samples) == (Result.FAIL, len(alone.outcome))


def test_too_few_units_hold(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30)))
    for gate in (replace(HARM, min_samples=6_001), replace(PROOF, min_samples=6_001)):
        verdict = verdict_of(gate, FLAG, given, NOW_S)
        assert verdict.result is Result.INCONCLUSIVE
        assert verdict.reason.startswith("6000 of 6001 units")


def test_no_decision_is_expected_before_there_are_units_enough(sums) -> None:
    given = sums((FLAG.progress, 2_500.0, rows(3_000, 30, 30)))
    many = replace(PROOF, min_samples=24_000)
    verdict = verdict_of(many, FLAG, given, NOW_S)
    assert numbers(verdict)[2].expected_s == pytest.approx(1_680.0)  # three times what came in 560 s
    assert verdict.reason.endswith("decided in about 28 min")


def test_what_does_not_come_new_any_more_is_not_waited_for(sums) -> None:
    """The same people come back: they were counted before, and the average of the step promises what won't come."""
    early = sums((FLAG.progress, 2_100.0, rows(100, 1, 1)))
    assert numbers(verdict_of(PROOF, FLAG, early, 2_500.0))[2].expected_s is not None
    assert numbers(verdict_of(PROOF, FLAG, early, NOW_S))[2].expected_s is None
    few = sums((FLAG.progress, 2_100.0, rows(100, 1, 1)), (FLAG.progress, 2_500.0, rows(10)))
    left_s = numbers(verdict_of(PROOF, FLAG, few, NOW_S))[2].expected_s
    average_s = numbers(verdict_of(PROOF, FLAG, few, 2_600.0))[2].expected_s
    assert left_s is not None
    assert average_s is not None
    assert left_s > 5 * average_s


def test_no_harm_is_shown_by_a_handful_of_units(sums) -> None:
    """Bets on it are large enough to decide after three; somebody is called for it."""
    harm, floor = replace(HARM, metric="errors", margin=0.005), replace(FLOOR, metric="errors", limit=0.01)
    flag = asking(harm, floor, share_millipct=1_000)
    for candidates, expected in ((4, Result.INCONCLUSIVE), (5, Result.FAIL)):
        made = [(1_000, True, 0.0, 0.99)] * candidates + [(1_000, False, 1.0, 0.99)] * 400
        given = sums((FLAG.progress, 2_100.0, made), flag=flag)
        found = verdicts_of(flag, given, NOW_S)
        assert {each.result for each in found.values()} == {expected}
    few = sums((FLAG.progress, 2_100.0, [(1_000, True, 0.0, 0.99)] * 4), flag=flag)
    said = verdict_of(floor, flag, few, NOW_S)
    assert said.reason.startswith("harm is shown, but by 4 of at least 5 units of the candidate; at least 0.99")


def test_harm_waits_for_as_many_units_as_it_is_told_to(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(300, 90, 3)))
    told = verdict_of(replace(HARM, min_samples=601), FLAG, given, NOW_S)
    assert (told.result, told.reason.split(";")[0]) == (Result.INCONCLUSIVE, "harm is shown, but by 600 of 601 units")
    assert verdict_of(replace(HARM, min_samples=600), FLAG, given, NOW_S).result is Result.FAIL


def test_together_they_need_a_handful_of_units_too(sums) -> None:
    gates = tuple(replace(HARM, name=name, metric="form") for name in "abcd")
    flag = asking(*gates, share_millipct=1_000)
    results = {}
    for candidates in (4, 5):
        made = [(1_000, True, 0.0, 0.999)] * candidates + [(1_000, False, 1.0, 0.999)] * 400
        found = verdicts_of(flag, sums((FLAG.progress, 2_100.0, made), flag=flag), NOW_S)
        results[candidates] = [each.result for each in found.values()].count(Result.FAIL)
    assert results[4] == 0
    assert results[5] >= 1


@pytest.mark.parametrize(("bad_candidate", "bad_baseline"), [(60, 2), (30, 2), (200, 40), (9, 0), (3, 3), (12, 6)])
def test_the_interval_of_errors_says_what_their_count_says(sums, bad_candidate: int, bad_baseline: int) -> None:
    harm = replace(HARM, metric="errors")
    flag = asking(harm)
    given = sums((FLAG.progress, 2_900.0, rows(400, bad_candidate, bad_baseline)), flag=flag)
    verdict = verdict_of(harm, flag, given, NOW_S)
    estimate = numbers(verdict)[2]
    assert estimate.lower is not None
    assert estimate.upper is not None
    assert estimate.effect is not None
    assert estimate.margin is not None
    assert estimate.lower <= estimate.effect <= estimate.upper
    shown = estimate.upper <= -estimate.margin
    assert shown == (verdict.result is Result.FAIL)
    assert (
        f"{bad_candidate} of 400 units of the candidate failed, {bad_baseline} of 400 of the baseline" in verdict.reason
    )


def test_a_latency_nobody_could_measure_says_what_to_look_at() -> None:
    slow = replace(SLOW, kind=GateKind.HARM, early=())
    verdict = verdict_of(slow, asking(slow), {}, NOW_S)
    assert verdict.result is Result.NO_DATA
    assert verdict.reason.endswith("with a bound within 30s; if there is traffic, give a larger evidence.age")


def test_proof_is_not_enough_while_harm_is_on_the_rise(sums) -> None:
    """Long fine, then failing: the proof still stands, the restarted harm process warns."""
    late = (FLAG.progress, 1_000.0 + 10 * EPOCH_S, rows(90, 36))
    fine = verdict_of(PROOF, FLAG, sums((FLAG.progress, 2_100.0, rows(5_000)), late), NOW_S)
    value, limit, estimate = numbers(fine)
    assert fine.result is Result.INCONCLUSIVE
    assert value >= limit
    assert fine.reason.startswith("proven, but an e-value for harm of")
    assert estimate.harm_value is not None
    assert estimate.harm_value >= HARM_WARNS


def test_an_e_value_is_finite_however_clear_the_case(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(20_000, 20_000)))
    for verdict in (verdict_of(HARM, FLAG, given, NOW_S), verdicts_of(FLAG, given, NOW_S)["worse"]):
        assert verdict.value is not None
        assert math.isfinite(verdict.value)
        assert judge(HARM, verdict, now_s=NOW_S, since_s=2_000.0) == verdict


def test_what_cannot_be_judged_is_an_error(sums) -> None:
    unknown = replace(HARM, name="other", metric="thumbs")
    assert verdict_of(unknown, FLAG, {}, NOW_S).result is Result.ERROR
    given = {key: vector[:-1] for key, vector in sums((FLAG.progress, 2_100.0, rows(2))).items()}
    damaged = verdicts_of(FLAG, given, NOW_S)["worse"]
    assert (damaged.result, damaged.reason) == (Result.ERROR, "the store's sums are not of this plan")


def test_gates_of_other_sources_are_not_answered_for() -> None:
    assert verdicts_of(asking(replace(HARM, source="promql")), {}, NOW_S) == {}
    assert set(verdicts_of(asking(PROOF), {}, NOW_S)) == {"fine"}


def test_a_step_that_has_just_begun_cannot_say_when_it_is_decided(sums) -> None:
    verdict = verdict_of(PROOF, FLAG, sums((FLAG.progress, 2_100.0, rows(5))), 2_000.0)
    assert "decided" not in verdict.reason


def test_pairs_wait_for_their_judge() -> None:
    harm = replace(HARM, name="lost", metric="judge")
    flag = asking(harm, HARM)
    verdict = verdicts_of(flag, {}, NOW_S)["lost"]
    assert (verdict.result, verdict.reason) == (Result.NO_DATA, "no pair has a score; 0 were lost")
    assert verdict_of(harm, replace(flag, share_millipct=0), {}, NOW_S).result is Result.NO_DATA


def test_what_has_a_stricter_limit_of_its_own_adds_less(sums, monkeypatch) -> None:
    """As a judge's third version: nine times the limit for one gate."""
    harm = replace(HARM, name="lost", metric="judge")
    flag = asking(harm, HARM)

    def found(part: float, strictness: float) -> Result:
        limit = limit_of(harm, flag) * strictness

        def of_pairs(gate: Gate, _flag: FeatureFlag, _sums: object, now_s: float) -> Verdict:
            return Verdict(gate.name, Result.PASS, "pairs", now_s, value=part * limit, limit=limit)

        monkeypatch.setitem(verdicts._BY_METRIC, "judge", of_pairs)
        return verdicts_of(flag, {}, NOW_S)["lost"].result

    assert [found(part, each) for each in (1.0, 9.0) for part in (0.99, 1.01)] == [Result.PASS, Result.FAIL] * 2


def test_users_who_keep_their_arm_are_judged_apart(sums, monkeypatch) -> None:
    """Their value is no e-value, so it is in no average."""

    def by_users(gate: Gate, _flag: FeatureFlag, _sums: object, now_s: float) -> Verdict:
        return Verdict(gate.name, Result.PASS, "users", now_s, value=1e9, limit=limit_of(gate, FLAG))

    monkeypatch.setitem(verdicts._BY_UNIT, UnitKind.USER, by_users)
    flag = asking(HARM, PROOF, bucket_by=UnitKind.USER)
    assert {each.reason for each in verdicts_of(flag, {}, NOW_S).values()} == {"users"}
    assert {each.result for each in verdicts_of(flag, {}, NOW_S).values()} == {Result.PASS}


def test_users_first_requests_prove_where_nothing_else_can(sums) -> None:
    """What is said of users has a cluster-robust bound; beside it each first request counts as any unit does."""
    flag = asking(HARM, PROOF, bucket_by=UnitKind.USER)
    given = sums((flag.progress, 2_100.0, rows(3_000)), flag=flag)
    of_units = verdict_of(PROOF, replace(flag, bucket_by=UnitKind.CONVERSATION), given, NOW_S)
    assert of_units.result is Result.PASS
    silent = verdict_of(PROOF, flag, given, NOW_S)
    assert (silent.result, silent.samples) == (Result.NO_DATA, 0)  # their other requests were never seen
    worse = sums((flag.progress, 2_100.0, rows(3_000, 900)), flag=flag)
    assert verdict_of(HARM, flag, worse, NOW_S).result is Result.FAIL
