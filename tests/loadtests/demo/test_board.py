from loadtests.demo.board import ArmLine, arm_line, arm_title, make_board
from loadtests.demo.course import Stage, Standing
from loadtests.demo.plan import BREAKING, FEATURES, MOVING, WORSE, stage_names
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample


def answered(arm: str, revision: int, number: int, feature: str = MOVING) -> Sample:
    return Sample(
        feature,
        f"c{number}",
        panel=False,
        started_s=0.0,
        assigned=arm,
        served=arm,
        reason="SPLIT",
        revision=revision,
        ttft_s=number / 10 if number % 2 else None,
        e2e_s=float(number),
        matched=number != 1,
    )


def test_an_arms_figures_come_from_what_it_answered() -> None:
    samples = [answered(CANDIDATE, 1, number) for number in range(1, 5)] + [answered(BASELINE, 1, 9)]
    assert arm_line(MOVING, CANDIDATE, samples) == ArmLine(MOVING, CANDIDATE, 4, 0.1, 0.3, 2.0, 4.0, 0.75)


def test_an_arm_without_answers_has_no_figures() -> None:
    assert arm_line("draft", BASELINE, []) == ArmLine("draft", BASELINE, 0, None, None, None, None, None)


STAGES = [
    Stage("1 %", 1_000, killed=False, first=7, until=8),
    Stage("5 %", 5_000, killed=False, first=8),
]
RAMP = Standing(MOVING, 8, 5_000, killed=False, phase="RUNNING", step=1, steps=5)


def test_a_board_shows_every_stage_and_arm() -> None:
    samples = [answered(CANDIDATE, 7, 1), answered(BASELINE, 7, 2), answered(BASELINE, 8, 3)]
    failed = Sample(MOVING, "x", panel=False, started_s=0.0, problem="status 500")
    board = make_board(3.0, STAGES, [RAMP], [*samples, failed], "not pulled")
    assert [line.name for line in board.stages] == list(stage_names())
    assert [line.state for line in board.stages[:3]] == ["done", "now", "to come"]
    assert [line.share for line in board.stages[:3]] == [0.01, 0.05, None]
    assert [(line.candidates, line.conversations) for line in board.stages[:3]] == [(1, 2), (0, 1), (0, 0)]
    assert board.ramps == (RAMP,)
    assert len(board.arms) == 2 * len(FEATURES)
    assert (board.requests, board.problems) == (4, 1)


def test_arms_have_titles() -> None:
    assert arm_title(MOVING, CANDIDATE) == "in-house (vLLM)"
    assert arm_title(BREAKING, CANDIDATE) == "trial (simulated)"
    assert arm_title(WORSE, CANDIDATE) == "worse model (vLLM)"
    assert arm_title(MOVING, BASELINE) == arm_title(BREAKING, BASELINE) == "partner"
