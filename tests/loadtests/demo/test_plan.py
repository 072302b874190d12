from itertools import pairwise

import pytest

from loadtests.demo.plan import (
    AFTER_ROLLBACK_S,
    BREAKING,
    BREAKING_RAMP,
    BREAKING_TASK,
    BROKEN_AT_STEP,
    FEATURES,
    KILLED_AT_MILLIPCT,
    KILLED_S,
    LIFTED_S,
    MOVING,
    POST_MONITOR_S,
    RAMP,
    ROLLBACK_LIMIT_S,
    STEADY_SHARES,
    TASK_WEIGHTS,
    WARM_UP_S,
    percent,
    stage_names,
)


def test_the_ramp_goes_through_the_promised_steps() -> None:
    assert [step.share_millipct for step in RAMP] == [1_000, 5_000, 25_000, 50_000, 100_000]
    assert all(step.bake_s > 0 and step.samples_min > 0 for step in RAMP)


def test_the_kill_is_in_the_middle_and_lifted_at_the_same_share() -> None:
    assert KILLED_AT_MILLIPCT in [step.share_millipct for step in RAMP[1:-1]]
    assert stage_names() == ("1 %", "5 %", "25 %", "50 %", "50 %, killed", "50 %, kill lifted", "100 %")
    assert KILLED_S > 1


def test_every_feature_has_traffic_and_all_but_the_moving_one_a_steady_share() -> None:
    assert set(FEATURES) == set(TASK_WEIGHTS) == {MOVING, *STEADY_SHARES}
    assert all(0 < share < 100_000 for share in STEADY_SHARES.values())
    assert BREAKING not in FEATURES
    assert BREAKING_TASK in FEATURES


def test_the_candidate_breaks_midway_in_a_step_that_outlasts_the_search_for_it() -> None:
    assert 0 < BROKEN_AT_STEP < len(BREAKING_RAMP) - 1
    assert BREAKING_RAMP[BROKEN_AT_STEP].bake_s > ROLLBACK_LIMIT_S
    assert all(before.share_millipct < after.share_millipct for before, after in pairwise(BREAKING_RAMP))


def test_the_steps_fit_the_time_of_a_second_run() -> None:
    baked_s = sum(step.bake_s for step in RAMP)
    assert baked_s + WARM_UP_S + KILLED_S + LIFTED_S + POST_MONITOR_S + AFTER_ROLLBACK_S <= 50


@pytest.mark.parametrize(("millipct", "text"), [(1_000, "1 %"), (12_500, "12.5 %"), (0, "0 %")])
def test_shares_are_written_as_people_do(millipct: int, text: str) -> None:
    assert percent(millipct) == text
