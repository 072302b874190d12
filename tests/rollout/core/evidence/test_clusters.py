import math
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence import clusters
from rollout.core.evidence.clusters import (
    GROUPS,
    ClusterSums,
    add,
    admissible,
    boundary,
    cluster_sums,
    evidence_against,
    mirrored,
    of_candidate,
    spread,
    total,
)
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.fixed_point import log_growth, real
from rollout.core.evidence.score import Units, for_noninferiority, score
from rollout.core.model import BUCKETS

ROW = st.tuples(st.integers(0, BUCKETS), st.booleans(), st.floats(0, 1), st.floats(0, 1), st.integers(0, GROUPS - 1))
ROWS = st.lists(ROW, min_size=1, max_size=20)
TUNED = 50.0


def gathered(units: Units, group: np.ndarray) -> ClusterSums:
    return cluster_sums(units, score(units), group)


def sticky(users: int, requests: int, effect: float, seed: int) -> tuple[Units, np.ndarray]:
    """Requests of users who keep their arm, half of them the candidate's; outcomes of a user are much alike."""
    random = np.random.default_rng(seed)
    user = (random.zipf(1.5, requests) - 1) % users
    arm, taste = random.random(users) < 0.5, random.beta(2, 2, users) * 0.6 + 0.2
    good = (random.random(requests) < taste[user] + effect * arm[user]).astype(float)
    half = np.full(requests, 0.5)
    return Units(np.full(requests, BUCKETS // 2), arm[user], good, half), (user * 2_654_435_761) % 2**32 % GROUPS


def even(users: int, effect: float, seed: int) -> tuple[Units, np.ndarray]:
    """Ten requests of each user, in turns."""
    random = np.random.default_rng(seed)
    user = np.tile(np.arange(users), 10)
    arm, taste = random.random(users) < 0.5, random.random(users) * 0.4 + 0.4
    good = (random.random(len(user)) < taste[user] + effect * arm[user]).astype(float)
    return Units(np.full(len(user), BUCKETS // 2), arm[user], good, np.full(len(user), 0.6)), user % GROUPS


@given(ROWS, ROWS)
def test_merging_is_a_single_stream(units, first: list, second: list) -> None:
    def sums(rows: list) -> ClusterSums:
        return gathered(units([row[:4] for row in rows]), np.array([row[4] for row in rows]))

    assert add(sums(first), sums(second)) == add(sums(second), sums(first)) == sums(first + second)
    assert total([sums(first), sums(second)]) == sums(first + second)


def test_the_sums_are_those_of_the_groups(units) -> None:
    batch = units([(50_000, True, 1.0, 0.5), (50_000, True, 0.25, 0.5), (50_000, False, 0.0, 0.5)])
    sums = gathered(batch, np.array([7, 7, 9]))
    assert (real(sums.contrast[7]), real(sums.contrast[9]), real(sums.overlap[7])) == (0.125, 0.25, 0.5)
    assert (sums.candidates[7], sums.candidates[9]) == (2, 0)
    assert (sums.bad_candidates, sums.bad_baselines, sums.units) == (1, 1, 3)
    assert (real(sums.outcome[7]), sums.outcome[9]) == (1.25, 0)
    assert (sums.n_eff, sums.estimate) == (0.75, 0.5)
    assert spread(sums, 0.0) == 0.125**2 + 0.25**2


def test_who_is_left_out_is_neither_good_nor_bad_and_says_nothing_of_the_candidates_mean(units) -> None:
    rows = [(50_000, True, 0.25, 0.25), (50_000, False, 0.25, 0.25), (50_000, True, 1.0, 0.25)]
    batch, group = units(rows), np.array([7, 9, 7])
    sums = cluster_sums(batch, score(batch), group, np.array([False, False, True]))
    assert (sums.bad_candidates, sums.bad_baselines, sums.units) == (0, 0, 3)
    assert (sums.candidates[7], of_candidate(sums).estimate, of_candidate(sums).units) == (1, 1.0, 1)
    assert sums.overlap == gathered(batch, group).overlap  # in a contrast it counts, as no difference


def test_nothing_has_no_estimate() -> None:
    assert (ClusterSums().estimate, ClusterSums().n_eff, total([])) == (None, 0.0, ClusterSums())


def test_of_the_candidate_alone_the_effect_is_its_mean() -> None:
    units, group = even(2_000, -0.1, 1)
    both, alone = gathered(units, group), of_candidate(gathered(units, group))
    mean = float(units.outcome[units.candidate].mean())
    assert alone.estimate == pytest.approx(mean)
    found = clusters.interval(alone, TUNED, 0.05)
    assert found.lower < mean < found.upper
    worse = units._replace(outcome=np.where(units.candidate, units.outcome, 0.0))
    assert of_candidate(gathered(worse, group)).contrast == alone.contrast
    assert both.units > alone.units == sum(both.candidates)


@pytest.mark.parametrize(("relative", "factor"), [(1.0, 1.69), (10.0, 1.82), (0.1, 2.24)])
def test_the_boundary_is_as_wide_as_published(relative: float, factor: float) -> None:
    width = boundary(TUNED * relative, TUNED, 0.05) / math.sqrt(TUNED * relative)
    assert width / NormalDist().inv_cdf(0.95) == pytest.approx(factor, abs=0.01)


def test_the_interval_holds_the_effect_and_its_bound_is_rejected() -> None:
    units, group = even(2_000, -0.1, 1)
    sums = gathered(units, group)
    found = clusters.interval(sums, TUNED, 0.05)
    assert -1.0 < found.lower < -0.1 < found.upper < 0.0
    assert found.lower == clusters.lower_bound(sums, TUNED, 0.025)
    strays = sum((real(c) - found.lower * real(o)) ** 2 for c, o in zip(sums.contrast, sums.overlap, strict=True))
    distance = real(sum(sums.contrast)) - found.lower * real(sum(sums.overlap))
    assert distance == pytest.approx(boundary(strays, TUNED, 0.025), rel=1e-6)
    assert evidence_against(sums, found.lower, TUNED, 0.025) == pytest.approx(1.0, rel=1e-6)
    assert evidence_against(mirrored(sums), -found.upper, TUNED, 0.025) == pytest.approx(1.0, rel=1e-6)


def test_nothing_seen_excludes_nothing() -> None:
    assert clusters.interval(ClusterSums(), TUNED, 0.05) == clusters.Interval(-1.0, 1.0)


def test_users_who_keep_their_arm_are_no_false_alarm_where_an_e_process_errs(wilson) -> None:
    # An A/A test at the margin of zero: the process by request rejects far above its level, the groups don't.
    runs, by_request, by_group = 100, 0, 0
    for seed in range(runs):
        units, group = sticky(3_000, 3_000, 0.0, seed)
        x = for_noninferiority(score(units), 0.0)
        logs = log_growth(np.array(LAMBDAS)[:, None] * x).cumsum(axis=1) / 2.0**32
        by_request += bool((np.exp(logs).mean(axis=0) >= 20).any())
        seen, crossed = ClusterSums(), False
        for start in range(0, 3_000, 300):
            part = Units(*(column[start : start + 300] for column in units))
            seen = add(seen, gathered(part, group[start : start + 300]))
            usable = admissible(seen, 0.0, binary=True).admissible
            crossed = crossed or (usable and clusters.lower_bound(seen, TUNED, 0.05) > 0.0)
        by_group += crossed
    assert wilson(by_request, runs)[0] > 0.05
    assert wilson(by_group, runs)[0] <= 0.05


def test_enough_users_with_enough_bad_outcomes_are_admissible() -> None:
    units, group = even(2_000, 0.0, 2)
    assert admissible(gathered(units, group), 0.0, binary=True) == (True, "")


def test_few_users_of_the_candidate_are_not_admissible() -> None:
    units, group = even(40, 0.0, 3)
    assert admissible(gathered(units, group), 0.0, binary=False).reason == "fewer than 30 groups of candidate users"


def test_one_heavy_user_is_not_admissible() -> None:
    units, group = even(400, 0.0, 4)
    heavy = Units(*(np.concatenate([column, np.repeat(column[:1], 3_000)]) for column in units))
    found = admissible(gathered(heavy, np.concatenate([group, np.zeros(3_000, int)])), 0.0, binary=False)
    assert found == (False, "one group of users weighs over 10% of all")


def test_one_group_that_is_unlike_all_others_is_not_admissible() -> None:
    units, group = even(400, 0.0, 4)
    sums = gathered(units, group)
    odd = (sums.contrast[0] - 10**12, *sums.contrast[1:])
    found = admissible(msgspec.structs.replace(sums, contrast=odd), 0.0, binary=False)
    assert found == (False, "one group of users weighs over 25% of all")


def test_few_bad_outcomes_are_not_admissible_for_binary_scores_only() -> None:
    units, group = even(2_000, 0.0, 5)
    fine = units._replace(outcome=np.ones(len(units.outcome)))
    assert admissible(gathered(fine, group), 0.0, binary=True).reason == "fewer than 10 bad outcomes in an arm"
    assert admissible(gathered(fine, group), 0.0, binary=False).admissible


@pytest.mark.parametrize(
    ("share", "failing", "enough"),
    [(5_000, 0.3, True), (50_000, 0.3, True), (98_000, 0.01, False), (50_000, 0.0, False)],
)
def test_for_harm_the_other_arm_need_not_fail_if_it_was_seen_as_much(share: int, failing: float, *, enough: bool):
    random = np.random.default_rng(7)
    user = np.tile(np.arange(4_000), 3)
    candidate = (random.random(4_000) < share / BUCKETS)[user]
    fails = candidate & (random.random(len(user)) < failing)
    units = Units(np.full(len(user), share), candidate, 1.0 - fails, np.ones(len(user)))
    sums = gathered(units, user % GROUPS)
    assert sums.bad_baselines == 0
    assert admissible(sums, 0.0, binary=True, harm=True).admissible == enough
    assert not admissible(sums, 0.0, binary=True).admissible


def test_of_the_candidate_alone_its_own_bad_outcomes_are_enough() -> None:
    units, group = even(2_000, 0.0, 5)
    only = units._replace(outcome=np.where(units.candidate, units.outcome, 1.0))
    assert admissible(of_candidate(gathered(only, group)), -0.6, binary=True, harm=True).admissible
