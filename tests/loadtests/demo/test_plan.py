from itertools import pairwise

import pytest

from loadtests.demo.plan import (
    AFTER_ROLLBACK_S,
    AGE_S,
    BREAKING,
    FEATURES,
    FEEDBACK_AGE_S,
    GOOD,
    HARMS,
    INJECTED_AT_STEP,
    KILLED_AT_MILLIPCT,
    KILLED_S,
    LIFTED_S,
    MARGINS,
    MOVING,
    POST_MONITOR_S,
    RAMP,
    RAMPED,
    RAMPS,
    ROLLBACK_LIMIT_S,
    SLOWED_BY_S,
    SLOWING,
    STEADY,
    STEADY_SHARE_MILLIPCT,
    TASKS,
    WARM_UP_S,
    WEIGHTS,
    WORSE,
    last_share_millipct,
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


def test_every_feature_has_traffic_and_a_task_and_all_but_one_a_ramp() -> None:
    assert set(FEATURES) == set(WEIGHTS) == set(TASKS) == {STEADY, *RAMPED}
    assert set(RAMPED) == set(RAMPS) == set(MARGINS)
    assert set(GOOD) == {MOVING, STEADY}
    assert 0 < STEADY_SHARE_MILLIPCT < 100_000
    assert max(WEIGHTS, key=WEIGHTS.__getitem__) == MOVING


def test_each_other_ramp_is_to_be_rolled_back_by_a_gate_of_its_own() -> None:
    assert [harm.feature for harm in HARMS] == [WORSE, BREAKING, SLOWING]
    assert len({harm.gate for harm in HARMS}) == len(HARMS)
    assert [harm.injected for harm in HARMS] == [False, True, True]


def test_harm_is_done_midway_in_a_step_that_outlasts_the_search_for_it() -> None:
    for harm in HARMS:
        steps = RAMPS[harm.feature]
        shares = [step.share_millipct for step in steps]
        assert all(before < after for before, after in pairwise(shares))
        assert last_share_millipct(harm) < shares[-1]
        if harm.injected:
            assert last_share_millipct(harm) == shares[INJECTED_AT_STEP] > shares[0]
            assert steps[INJECTED_AT_STEP].bake_s > ROLLBACK_LIMIT_S
        else:
            assert last_share_millipct(harm) == shares[0]


def test_the_slow_candidate_is_slow_enough_to_be_known_before_a_unit_is_looked_at() -> None:
    assert SLOWED_BY_S < AGE_S <= FEEDBACK_AGE_S


def test_early_margins_shrink_to_the_final_one() -> None:
    for margins in MARGINS.values():
        below = [share for share, _ in margins.early]
        wide = [margin for _, margin in margins.early]
        assert below == sorted(below)
        assert wide == sorted(wide, reverse=True)
        assert all(max(margins.quality, margins.errors) < margin < 1 for margin in wide)


def test_the_steps_fit_the_time_of_a_second_run() -> None:
    baked_s = sum(step.bake_s for step in RAMP)
    assert baked_s + WARM_UP_S + KILLED_S + LIFTED_S + POST_MONITOR_S + AFTER_ROLLBACK_S <= 50


@pytest.mark.parametrize(("millipct", "text"), [(1_000, "1 %"), (12_500, "12.5 %"), (0, "0 %")])
def test_shares_are_written_as_people_do(millipct: int, text: str) -> None:
    assert percent(millipct) == text
