from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.coverage import ArmCoverage
from rollout.core.evidence.cluster_parts import cell_of, part_of, vectors_of
from rollout.core.evidence.cluster_verdicts import variance_tuned, verdict_of
from rollout.core.evidence.clusters import GROUPS, cluster_sums
from rollout.core.evidence.coverage import REQUESTS, Counts, coverage_keys
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.fixed_point import log_growth
from rollout.core.evidence.plans import series_for, series_of
from rollout.core.evidence.score import Units, for_noninferiority, score
from rollout.core.gates import Result, Verdict, judge
from rollout.core.model import BUCKETS, FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey

DAY_S = 86_400.0
NOW_S = 3_000.0
HARM = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.1, alpha=0.05
)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY)
FLOOR = Gate(
    name="slo", role=Role.HARD, source="evidence", kind=GateKind.THRESHOLD, metric="errors", limit=0.3,
    direction="lower",
)  # fmt: skip
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    bucket_by=UnitKind.USER,
    share_millipct=50_000,
    gates=(HARM, PROOF),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=1_000.0, step_began_s=2_000.0),
)
Sums = dict[SumKey, list[int]]


class Traffic:
    """Users whose answers are alike (ICC 0.3), some of them much busier than others, each with one coin for good."""

    def __init__(self, seed: int, users: int = 700) -> None:
        self.random = np.random.default_rng(seed)
        weights = np.arange(1, users + 1) ** -0.3
        self.weights = weights / weights.sum()
        self.bucket = self.random.integers(0, BUCKETS, users)
        self.taste = self.random.beta(0.7 * 7 / 3, 0.3 * 7 / 3, users)
        self.group = self.random.integers(0, GROUPS, users)

    def requests(self, number: int, share: int, effect: float = 0.0) -> tuple[Units, np.ndarray]:
        """`effect`: of the candidate on the chance of a good outcome."""
        user = self.random.choice(len(self.weights), number, p=self.weights)
        candidate = self.bucket[user] < share
        chance = max(0.0, -effect) + (1 - abs(effect)) * self.taste[user] + effect * candidate
        good = (self.random.random(number) < chance).astype(float)
        return Units(np.full(number, share), candidate, good, np.full(number, 0.7)), self.group[user]


def added(
    sums: Sums, units: Units, group: np.ndarray, *, flag: FeatureFlag = FLAG, gate: Gate = PROOF, at_s: float = NOW_S
) -> Sums:
    """What the store has after a batch; all series get the same outcomes."""
    part = part_of(flag, series_for(flag, gate, gate.margin or 0.0))
    batch = [cluster_sums(units, score(units), group)] * len(part.series)
    vectors = vectors_of(part, "draft", flag.progress, cell_of(part, flag.progress, at_s), batch)
    return sums | {
        key: [a + b for a, b in zip(sums.get(key, [0] * len(v)), v, strict=True)] for key, v in vectors.items()
    }


def even(
    number: int, bad_candidate: float = 0.1, bad_baseline: float = 0.1, users: int = 400
) -> tuple[Units, np.ndarray]:
    """Requests of users in turns, every other user the candidate's, so many of each arm failed."""
    user = np.arange(number) % users
    candidate = user % 2 == 0
    turn = np.arange(number) // users / (number / users)
    bad = (turn + user / users) % 1.0 < np.where(candidate, bad_candidate, bad_baseline)
    return Units(np.full(number, 50_000), candidate, 1.0 - bad, np.full(number, 0.9)), user % GROUPS


def said(gate: Gate, sums: Sums, flag: FeatureFlag = FLAG, first: Verdict | None = None) -> Verdict:
    return verdict_of(gate, flag, sums, NOW_S, first)


def test_a_candidate_that_does_as_well_is_proven_and_no_harm_is_shown() -> None:
    sums = added({}, *even(8_000))
    fine, worse = said(PROOF, sums), said(HARM, sums)
    assert (fine.result, worse.result) == (Result.PASS, Result.PASS)
    assert fine.limit == worse.limit == -0.1
    assert fine.value is not None
    assert fine.estimate is not None
    assert worse.value is not None
    assert -0.1 <= fine.value < fine.estimate.effect < worse.value
    assert fine.estimate.by_bound
    assert f"lower bound {fine.value:+.4f} of -0.1, " in fine.reason
    assert f"upper bound {worse.value:+.4f} of -0.1, " in worse.reason
    assert (fine.samples, fine.from_s) == (8_000, 2_000.0)
    assert fine.reason.startswith("asymptotic: effect -0.0005, between -0.0")
    assert "groups of candidate users" in fine.reason
    for gate, verdict in ((PROOF, fine), (HARM, worse)):
        assert judge(gate, verdict, now_s=NOW_S, since_s=2_000.0) == verdict


def test_the_estimate_is_complete() -> None:
    found = said(PROOF, added({}, *even(8_000, 0.13))).estimate
    assert found is not None
    assert found.effect == pytest.approx(-0.03, abs=0.01)
    assert found.lower is not None
    assert found.upper is not None
    assert found.excluded is not None
    assert found.lower < found.effect < found.upper
    assert -found.excluded > found.lower
    assert (found.margin, found.expected_s, found.harm_value) == (0.1, 0.0, None)
    early = said(PROOF, added({}, *even(1_000, 0.13))).estimate
    assert early is not None
    assert early.expected_s is not None
    assert early.expected_s > 0
    worse = said(PROOF, added({}, *even(8_000, 0.4))).estimate
    assert worse is not None
    assert worse.expected_s is None


def test_while_no_group_differs_nobody_can_say_how_long_it_takes() -> None:
    units, group = even(1_000)
    as_expected = units._replace(outcome=units.predicted)
    found = said(PROOF, added({}, as_expected, group)).estimate
    assert found is not None
    assert (found.effect, found.expected_s) == (0.0, None)


def test_a_candidate_that_fails_more_often_is_shown_to() -> None:
    sums = added({}, *even(8_000, 0.4))
    fine, worse = said(PROOF, sums), said(HARM, sums)
    assert (fine.result, worse.result) == (Result.INCONCLUSIVE, Result.FAIL)
    assert worse.value is not None
    assert -0.3 < worse.value <= -0.1
    assert fine.reason.startswith("harm at the final margin looks likely")
    assert judge(HARM, worse, now_s=NOW_S, since_s=2_000.0) == worse


def test_too_few_users_hold_and_say_so() -> None:
    sums = added({}, *even(8_000, 0.5, users=40))
    for gate in (PROOF, HARM):
        verdict = said(gate, sums)
        assert verdict.result is Result.INCONCLUSIVE
        assert "fewer than 30 groups of candidate users" in verdict.reason
        assert verdict.value is None


def test_without_any_failure_no_harm_is_shown_and_nothing_proven() -> None:
    sums = added({}, *even(8_000, 0.0, 0.0))
    worse = said(HARM, sums)
    assert (worse.result, worse.value) == (Result.PASS, 1.0)  # nothing is known
    fine = said(PROOF, sums)
    assert fine.result is Result.INCONCLUSIVE
    assert fine.reason.startswith("fewer than 10 bad outcomes in an arm")


def verdict(result: Result, value: float = 50.0) -> Verdict:
    return Verdict("fine", result, "by the first request", NOW_S, value=value, limit=20.0)


def test_what_users_first_requests_prove_stands_beside_it() -> None:
    unspoilt = added({}, *even(8_000, 0.0, 0.0))
    assert said(PROOF, unspoilt, first=verdict(Result.PASS)).result is Result.PASS
    assert said(PROOF, unspoilt, first=verdict(Result.INCONCLUSIVE)).result is Result.INCONCLUSIVE
    bad = added({}, *even(8_000, 0.4))
    assert said(PROOF, bad, first=verdict(Result.PASS)).result is Result.INCONCLUSIVE
    few = added({}, *even(100, 0.9, users=10))
    by_first = said(HARM, few, first=verdict(Result.FAIL))
    assert (by_first.result, by_first.value, by_first.limit) == (Result.FAIL, 50.0, 40.0)
    assert by_first.estimate is not None
    assert not by_first.estimate.by_bound  # e-values of the test that decided
    assert said(HARM, few, first=verdict(Result.PASS)).result is Result.INCONCLUSIVE


def test_each_of_two_tests_has_half_of_the_alpha() -> None:
    unspoilt = added({}, *even(8_000, 0.0, 0.0))
    assert said(PROOF, unspoilt, first=verdict(Result.PASS, 39.0)).result is Result.INCONCLUSIVE
    assert said(PROOF, unspoilt, first=replace(verdict(Result.PASS), value=None)).result is Result.INCONCLUSIVE
    few = added({}, *even(100, 0.9, users=10))
    assert said(HARM, few, first=verdict(Result.FAIL, 39.0)).result is Result.INCONCLUSIVE
    usual = added({}, *even(8_000))
    alone, beside = said(PROOF, usual), said(PROOF, usual, first=verdict(Result.INCONCLUSIVE))
    assert alone.value is not None
    assert beside.value is not None
    assert beside.value < alone.value


def test_silence_is_no_data_and_few_requests_hold() -> None:
    for gate in (PROOF, HARM):
        early = verdict_of(gate, FLAG, {}, 2_089.0)
        assert (early.result, early.reason.split(";")[0]) == (
            Result.INCONCLUSIVE,
            "no request can have come of age yet",
        )
        silent = said(gate, {})
        assert (silent.result, silent.estimate) == (Result.NO_DATA, None)
        assert silent.reason == "0 of 1 requests; no request has come of age"
        short = said(replace(gate, min_samples=8_001), added({}, *even(8_000)))
        assert (short.result, short.reason.split(";")[0]) == (Result.INCONCLUSIVE, "8000 of 8001 requests")


def test_proof_is_of_the_step_and_harm_of_the_ramp() -> None:
    before = replace(FLAG, progress=replace(FLAG.progress, step=0, step_began_s=1_000.0))
    sums = added({}, *even(8_000, 0.4), flag=before, at_s=1_500.0)
    assert said(HARM, sums).result is Result.FAIL
    assert said(PROOF, sums).result is Result.NO_DATA
    fine = added({}, *even(8_000), flag=before, at_s=1_500.0)
    assert said(PROOF, fine).result is Result.NO_DATA
    over_all = said(replace(PROOF, scope="ramp"), fine)
    assert (over_all.result, over_all.samples, over_all.from_s) == (Result.PASS, 8_000, 1_000.0)


def test_early_margins_are_wider_but_harm_is_at_the_final_one() -> None:
    gate = replace(PROOF, early=(EarlyMargin(below=60_000, margin=0.25),))
    flag = replace(FLAG, gates=(gate,))
    sums = added({}, *even(3_000, 0.16), flag=flag, gate=gate)
    found = said(gate, sums, flag).estimate
    assert found is not None
    assert found.margin == 0.25
    assert said(gate, sums, flag).result is Result.PASS
    assert said(gate, added({}, *even(8_000, 0.3), flag=flag, gate=gate), flag).result is Result.INCONCLUSIVE


def test_latency_has_its_margin_in_the_outcome() -> None:
    gate = replace(PROOF, metric="ttft_p50", margin=0.1)
    flag = replace(FLAG, gates=(gate,))
    better = added({}, *even(8_000, 0.3, 0.5), flag=flag, gate=gate)
    assert said(gate, better, flag).result is Result.PASS
    equal = added({}, *even(8_000, 0.5, 0.5), flag=flag, gate=gate)
    found = said(gate, equal, flag)
    assert found.result is Result.INCONCLUSIVE
    assert found.limit == 0.0  # as many within the bound
    assert "margin +10% of the baseline's time, no margin is excluded yet" in found.reason


def test_a_floor_is_about_the_candidate_alone() -> None:
    flag = replace(FLAG, gates=(FLOOR,))
    fine = added({}, *even(8_000, 0.2, 0.9), flag=flag, gate=FLOOR)
    assert said(FLOOR, fine, flag).result is Result.PASS
    bad = said(FLOOR, added({}, *even(8_000, 0.5, 0.5), flag=flag, gate=FLOOR), flag)
    assert bad.result is Result.FAIL
    assert bad.estimate is not None
    assert bad.estimate.effect == pytest.approx(0.5, abs=0.01)
    assert bad.estimate.excluded is bad.estimate.expected_s is None
    assert "asymptotic: mean 0.5" in bad.reason


def test_gates_that_can_fail_share_one_alpha_and_attempts_another() -> None:
    sums = added({}, *even(8_000, 0.25))
    alone = said(HARM, sums)
    three = replace(FLAG, gates=(HARM, replace(HARM, name="b"), replace(HARM, name="c"), PROOF))
    assert alone.value is not None
    assert alone.value < (said(HARM, sums, three).value or 0.0)
    later, sums = replace(FLAG, progress=replace(FLAG.progress, attempt=5)), added({}, *even(8_000))
    again = {replace_epoch(key, 5): vector for key, vector in sums.items()}
    assert (said(PROOF, again, later).value or 0.0) < (said(PROOF, sums).value or 0.0)


def replace_epoch(key: SumKey, epoch: int) -> SumKey:
    return key._replace(epoch=epoch)


def test_an_absurd_alpha_is_no_fault() -> None:
    assert said(replace(PROOF, alpha=0.99), added({}, *even(8_000))).result is Result.PASS


def test_what_cannot_be_judged_is_an_error() -> None:
    assert said(replace(PROOF, metric="form"), {}).result is Result.ERROR
    damaged = {key: vector[:-1] for key, vector in added({}, *even(100)).items()}
    found = said(PROOF, damaged)
    assert (found.result, found.reason) == (Result.ERROR, "the store's sums are not of this plan")


def test_harm_that_begins_late_is_found_from_a_later_cell() -> None:
    """A fortnight without a difference, then a day with one: from the start of the ramp on nobody would see it."""
    sums: Sums = {}
    for day in range(14):
        sums = added(sums, *even(8_000), at_s=1_000.0 + day * DAY_S)
    assert said(HARM, sums).result is Result.PASS
    late = added(sums, *even(8_000, 0.45), at_s=1_000.0 + 15 * DAY_S)
    assert said(HARM, late).result is Result.FAIL
    assert said(replace(PROOF, scope="ramp"), late).result is Result.INCONCLUSIVE
    in_one = added({}, *even(8_000, 0.45))
    for _ in range(14):
        in_one = added(in_one, *even(8_000))
    assert said(HARM, in_one).result is Result.PASS


@pytest.mark.parametrize(("metric", "margin"), [("errors", 0.005), ("form", 0.05), ("thumbs", 0.05), ("itl_p99", 0.1)])
def test_tuning_depends_on_the_gate_alone(metric: str, margin: float) -> None:
    gate = replace(PROOF, metric=metric, margin=margin)
    assert 1.0 <= variance_tuned(gate, margin, 0.05) < 1e4
    assert variance_tuned(gate, margin, 0.01) > variance_tuned(gate, margin, 0.05)
    assert 1.0 <= variance_tuned(FLOOR, 0.0, 0.05) < 1e4


@given(st.permutations(range(6)), st.integers(1, 5))
def test_any_order_and_any_split_says_the_same(order: list[int], cut: int) -> None:
    units, group = Traffic(3, 300).requests(600, 30_000)
    parts = np.array_split(np.arange(600), 6)

    def stored(batches: Iterable[np.ndarray]) -> Sums:
        sums: Sums = {}
        for rows in batches:
            sums = added(sums, Units(*(column[rows] for column in units)), group[rows])
        return sums

    whole = stored([np.arange(600)])
    assert stored([parts[number] for number in order]) == whole
    assert stored([np.concatenate(parts[:cut]), np.concatenate(parts[cut:])] if cut < 6 else parts) == whole


def crossed_by_request(batches: list[Units]) -> bool:
    """Whether the e-process of requests ever proves "worse by less than 10 points" at 0.05."""
    x = np.concatenate([for_noninferiority(score(units), 0.1) for units in batches])
    logs = log_growth(np.array(LAMBDAS)[:, None] * x).cumsum(axis=1) / 2.0**32
    return bool((np.exp(logs).mean(axis=0) >= 20).any())


def ramp(seed: int, effect: float, requests: int, users: int = 700) -> list[tuple[Units, np.ndarray]]:
    """A ramp in which users move to the candidate once, as the share grows."""
    traffic = Traffic(seed, users)
    return [traffic.requests(requests, share, effect) for share in (10_000, 10_000, 25_000, 25_000, 50_000, 50_000)]


RUNS = 60


def test_at_the_margin_hardly_any_ramp_of_users_is_passed_or_failed_where_an_e_process_errs(wilson) -> None:
    flag = replace(FLAG, gates=(PROOF, HARM))
    by_request, passed, failed = 0, 0, 0
    gate = replace(PROOF, scope="ramp")
    for seed in range(RUNS):
        sums: Sums = {}
        batches = ramp(seed, -0.1, 3_000)
        by_request += crossed_by_request([units for units, _ in batches])
        verdicts = []
        for units, group in batches:
            sums = added(sums, units, group, flag=flag)
            verdicts += [said(gate, sums, flag).result, said(HARM, sums, flag).result]
        passed += Result.PASS in verdicts[::2]
        failed += Result.FAIL in verdicts
    assert wilson(by_request, RUNS)[0] > 0.05
    assert wilson(passed, RUNS)[0] <= 0.05
    assert wilson(failed, RUNS)[0] <= 0.05


def test_with_users_enough_it_has_power() -> None:
    passed = failed = 0
    for seed in range(8):
        fine, bad = {}, {}
        for units, group in ramp(100 + seed, 0.0, 6_000, 6_000):
            fine = added(fine, units, group)
        for units, group in ramp(200 + seed, -0.3, 6_000, 6_000):
            bad = added(bad, units, group)
        passed += said(replace(PROOF, scope="ramp"), fine).result is Result.PASS
        failed += said(HARM, bad).result is Result.FAIL
    assert min(passed, failed) >= 6


def test_too_many_requests_left_out_are_no_answer() -> None:
    flag = replace(FLAG, gates=(HARM, PROOF, FLOOR))
    sums = added({}, *even(8_000), flag=flag)
    keys = coverage_keys(flag, series_of(flag), REQUESTS)
    (key,) = {keys[series_for(flag, gate, gate.margin or 0.0).prefix] for gate in flag.gates}
    few, many = sums | {key: [*Counts(lost_candidates=200)]}, sums | {key: [*Counts(lost_candidates=220)]}
    assert [said(gate, few, flag).result for gate in flag.gates] == [Result.PASS] * 3
    assert [said(gate, many, flag).result for gate in flag.gates] == [
        Result.PASS, Result.INCONCLUSIVE, Result.INCONCLUSIVE
    ]  # fmt: skip
    found = said(PROOF, many, flag)
    assert found.reason.startswith("220 of 4220 requests of the candidate were left out, 5.2%, at most 5%; asymptotic")
    assert found.coverage is not None
    assert (found.coverage.baseline, found.samples) == (ArmCoverage(4_000), 8_000)
    floor = said(FLOOR, many, flag)
    assert floor.coverage is not None
    assert (floor.samples, floor.coverage.baseline.all) == (4_000, 0)


def test_before_any_group_differs_nobody_knows_how_long_it_takes() -> None:
    batch, group = even(800)
    found = said(PROOF, added({}, batch._replace(outcome=batch.predicted), group)).estimate
    assert found is not None
    assert (found.effect, found.expected_s) == (0.0, None)
