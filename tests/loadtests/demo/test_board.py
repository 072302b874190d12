from loadtests.demo.board import ArmLine, arm_line, arm_title, make_board
from loadtests.demo.judge import Stage
from loadtests.demo.plan import FEATURES, MOVING, STEPS
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


def test_a_board_shows_every_step_and_arm() -> None:
    stages = [Stage(STEPS[0], 7), Stage(STEPS[1], 8)]
    samples = [answered(CANDIDATE, 7, 1), answered(BASELINE, 7, 2), answered(BASELINE, 8, 3)]
    failed = Sample(MOVING, "x", panel=False, started_s=0.0, problem="status 500")
    board = make_board(3.0, stages, [*samples, failed], "not pulled")
    assert [line.state for line in board.steps[:3]] == ["done", "now", "to come"]
    assert [(line.candidates, line.conversations) for line in board.steps[:3]] == [(1, 2), (0, 1), (0, 0)]
    assert len(board.steps) == len(STEPS)
    assert len(board.arms) == 2 * len(FEATURES)
    assert (board.requests, board.problems) == (4, 1)


def test_arms_have_titles() -> None:
    assert arm_title(CANDIDATE) == "in-house (vLLM)"
    assert arm_title(BASELINE) == "partner"
