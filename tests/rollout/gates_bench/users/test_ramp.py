import pytest

from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.users.ramp import LOOK_REQUESTS, STAGES, UsersRun, flag_at, run
from rollout.gates_bench.users.world import UsersScenario


def of(truth: Truth, traffic: str = "equal", icc: float = 0.0) -> UsersRun:
    return run(UsersScenario(traffic=traffic, icc=icc, truth=truth), 1)


def test_a_fine_candidate_is_proven_at_each_stage_once_it_has_dwelt() -> None:
    found = of(Truth.FINE)
    assert (found.end, found.by_groups) == ("completed", True)
    assert sum(stage.requests_min for stage in STAGES) <= found.requests <= sum(s.requests_max for s in STAGES)


def test_harm_is_found_before_the_first_stage_ends() -> None:
    found = of(Truth.HARM)
    assert found.end == "rolled_back"
    assert found.requests < STAGES[0].requests_max


def test_what_is_proven_nowhere_is_held() -> None:
    found = of(Truth.AT_THE_MARGIN, "Zipf")
    assert found.end == "held"
    assert found.requests >= STAGES[0].requests_max


def test_a_run_follows_from_its_seed() -> None:
    assert of(Truth.HARM, "Zipf", 0.3) == of(Truth.HARM, "Zipf", 0.3)


def test_one_looks_at_whole_epochs_and_steps_begin_when_they_are_entered() -> None:
    assert all(limit % LOOK_REQUESTS == 0 for stage in STAGES for limit in stage[1:])
    flag = flag_at(1, 1_007_200.0)
    assert (flag.share_millipct, flag.progress.step, flag.progress.step_began_s) == (50_000, 1, 1_007_200.0)
    assert [gate.margin_at(stage.share_millipct) for stage in STAGES for gate in flag.gates] == pytest.approx(
        [0.05, 0.1, 0.05, 0.05]
    )
