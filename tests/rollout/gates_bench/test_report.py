import pytest

from rollout.gates_bench import report
from rollout.gates_bench.ramp import Run
from rollout.gates_bench.scenarios import Scenario, Truth


def row(name: str, truth: Truth, ends: dict[str, int]) -> report.Row:
    reasons = {"rolled_back": "errors"}
    runs = [Run(end, reasons.get(end, ""), 0, 1_000, 40, 80) for end, count in ends.items() for _ in range(count)]
    return report.row(Scenario(name=name, truth=truth), runs, [30, None])


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    found = report.wilson(5, 100)
    assert found.ci95 == pytest.approx((0.02154, 0.11175), abs=1e-5)
    assert report.wilson(0, 100).ci95 == pytest.approx((0.0, 0.03699), abs=1e-5)


def test_a_row_counts_how_ramps_ended() -> None:
    found = row("errors", Truth.HARM, {"rolled_back": 3, "held": 1})
    assert (found.rolled_back.hits, found.held.hits, found.completed.hits) == (3, 1, 0)
    assert found.reasons == {"errors": 3}
    assert (found.exposed_median, found.judged_median, found.fresh_exposed_median) == (40.0, 80.0, 30.0)
    assert row("A/A", Truth.FINE, {"completed": 2}).exposed_median is None


def test_the_summary_names_the_worst_scenario_of_each_kind() -> None:
    found = report.summary(
        [
            row("A/A", Truth.FINE, {"completed": 99, "rolled_back": 1}),
            row("A/A, wave", Truth.FINE, {"completed": 98, "rolled_back": 2}),
            row("margin", Truth.AT_THE_MARGIN, {"held": 97, "completed": 3}),
        ]
    )
    assert (found["false_rollback_max"], found["false_rollback_max_scenario"]) == (0.02, "A/A, wave")
    assert (found["wrong_promotion_max"], found["wrong_promotion_max_runs"]) == (0.03, 100)
    assert found["wrong_promotion_max_ci95"][0] < 0.03 < found["wrong_promotion_max_ci95"][1]
    assert "missed_harm_max" not in found


def test_gates_are_shown_beside_each_other() -> None:
    harm, fine = Scenario(name="errors", truth=Truth.HARM), Scenario(name="A/A", truth=Truth.FINE)
    text = report.comparison(
        [
            report.beside(harm, "engine", [10, 30, None, 20]),
            report.beside(harm, "rival", [None] * 4),
            report.beside(fine, "engine", [None] * 4),
            report.beside(fine, "rival", [0, None, None, None]),
        ]
    )
    assert text.splitlines() == [
        "| scenario | engine | rival |",
        "| --- | --- | --- |",
        "| errors | 75% (20) | 0% (-) |",
        "| A/A | 0% (-) | 25% (-) |",
    ]


def test_the_table_has_a_line_for_each_scenario() -> None:
    text = report.table([row("A/A", Truth.FINE, {"completed": 2}), row("errors", Truth.HARM, {"rolled_back": 1})])
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| A/A", "| errors"]
    assert "40 / 40" in text
