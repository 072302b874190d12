from itertools import pairwise

from loadtests.demo.plan import FEATURES, MOVING, STEADY_SHARES, STEPS, TASK_WEIGHTS, Step


def test_the_share_goes_through_the_promised_steps_and_never_back() -> None:
    shares = [step.share_millipct for step in STEPS]
    assert list(dict.fromkeys(shares)) == [1_000, 5_000, 25_000, 50_000, 100_000]
    assert all(before <= after for before, after in pairwise(shares))


def test_the_kill_is_in_the_middle_and_lifted_at_the_same_share() -> None:
    killed = next(number for number, step in enumerate(STEPS) if step.killed)
    assert sum(step.killed for step in STEPS) == 1
    before, after = STEPS[killed - 1], STEPS[killed + 1]
    assert before.share_millipct == STEPS[killed].share_millipct == after.share_millipct
    assert STEPS[killed].lasts_s > 1


def test_a_killed_step_has_no_share() -> None:
    assert Step("x", 50_000, 1.0).share == 0.5
    assert Step("x", 50_000, 1.0, killed=True).share == 0


def test_every_feature_has_traffic_and_all_but_the_moving_one_a_steady_share() -> None:
    assert set(FEATURES) == set(TASK_WEIGHTS) == {MOVING, *STEADY_SHARES}
    assert all(0 < share < 100_000 for share in STEADY_SHARES.values())


def test_the_steps_fit_the_time_of_a_second_run() -> None:
    assert sum(step.lasts_s for step in STEPS) <= 40
