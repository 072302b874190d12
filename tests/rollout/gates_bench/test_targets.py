import msgspec
import pytest

from rollout.gates_bench.ramp import Run
from rollout.gates_bench.report import Row, row
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.targets import _is_settled, missed, summary, targets

LATE = Scenario(name="late", truth=Truth.HARM, error_ratio=30.0, onset_unit=5_000)


def of(name: str, truth: Truth, ends: dict[str, int], late: int = 0, **effects: object) -> Row:
    runs = [Run(end, "", 0, 1_000, 40, 80, 46, 2_400) for end, count in ends.items() for _ in range(count)]
    fresh = [Run("rolled_back", "", 0, 1_000, 40, 80, 46, late)] * len(runs) if late else []
    oracle = [20] * len(runs) if truth is Truth.HARM and not late else []
    return row(Scenario(name=name, truth=truth, **effects), runs, fresh, oracle)


def test_the_summary_names_the_worst_scenario_of_each_kind() -> None:
    found = summary(
        [
            of("A/A", Truth.FINE, {"completed": 99, "rolled_back": 1}),
            of("A/A, wave", Truth.FINE, {"completed": 98, "rolled_back": 2}),
            of("margin", Truth.AT_THE_MARGIN, {"held": 97, "completed": 3}),
        ]
    )
    assert (found["false_rollback_max"], found["false_rollback_max_scenario"]) == (0.02, "A/A, wave")
    assert (found["wrong_promotion_max"], found["wrong_promotion_max_runs"]) == (0.03, 100)
    assert found["wrong_promotion_max_ci95"][0] < 0.03 < found["wrong_promotion_max_ci95"][1]
    assert "missed_harm_max" not in found


def test_a_rate_is_missed_only_by_more_than_chance() -> None:
    assert missed({"false_rollback_max": 0.03, "false_rollback_max_ci95": (0.01, 0.06)}) == []
    assert missed({"false_rollback_max": 0.05, "false_rollback_max_ci95": (0.03, 0.08)}) == ["false_rollback_max"]


def test_each_goal_has_a_line_that_says_whether_it_is_met() -> None:
    found = targets(
        [
            of("A/A", Truth.FINE, {"completed": 10}),
            of("errors 1 -> 30 %", Truth.HARM, {"rolled_back": 10}, error_ratio=30.0),
            of("quality -10 points", Truth.HARM, {"rolled_back": 10}, quality=-0.1),
            of("late", Truth.HARM, {"rolled_back": 10}, late=1_200),
        ],
        cost_us=0.7,
    )
    assert [(each.found, each.met) for each in found] == [
        (0.0, None),
        (0.0, None),
        (46, False),
        (160, True),
        (2.0, False),
        (pytest.approx(4.0), False),
        (0.7, True),
    ]


def test_the_delay_of_a_late_failure_is_open_while_its_interval_holds_the_goal() -> None:
    runs = [Run("rolled_back", "", 0, 1_000, 40, 80, 46, delay) for delay in (1_200, 1_400, 1_600, 1_800, 2_000) * 4]
    fresh = [Run("rolled_back", "", 0, 1_000, 40, 80, 46, delay) for delay in (1_000, 1_100, 1_150, 1_200, 1_300) * 4]
    (found,) = [each for each in targets([row(LATE, runs, fresh)], 1.0) if each.name.startswith("delay")]
    assert found.found == pytest.approx(1_600 / 1_150)
    assert found.ci95 is not None
    assert found.met is None


def test_results_from_before_there_was_that_interval_say_what_they_said() -> None:
    runs = [Run("rolled_back", "", 0, 1_000, 40, 80, 46, 1_200)] * 4
    older = msgspec.structs.replace(row(LATE, runs, runs), late_ci95=None)
    assert [(each.ci95, each.met) for each in targets([older], 1.0)][1] == (None, True)


def test_what_was_mostly_not_found_meets_no_goal() -> None:
    found = targets([of("errors 1 -> 5 %", Truth.HARM, {"held": 10}, error_ratio=5.0)], cost_us=9.0)
    assert [(each.found, each.met) for each in found] == [(0.0, None), (None, False), (9.0, False)]
    late = targets([of("late", Truth.HARM, {"held": 10}, late=1_200)], cost_us=1.0)
    assert (late[1].found, late[1].met) == (None, False)


@pytest.mark.parametrize(
    ("low", "high", "settled"),
    [(0.0, 0.02, True), (0.0, 0.03, False), (0.021, 0.03, True), (None, None, True), (0.01, None, False)],
)
def test_a_goal_is_settled_once_the_interval_lies_on_one_side(
    low: float | None,
    high: float | None,
    settled: bool,  # noqa: FBT001  a parameter
) -> None:
    assert _is_settled(0.02, low, high) is settled
