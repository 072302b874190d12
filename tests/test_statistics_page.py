"""docs/statistics.md and the README show what docs/statistics/latest.json holds."""

from pathlib import Path

import pytest

from rollout.gates_bench import pages, plots
from rollout.gates_bench.scenarios import SCENARIOS
from rollout.gates_bench.targets import RATES, summary, targets
from rollout.gates_bench.users import results as users
from rollout.gates_bench.users.world import SCENARIOS as USERS_SCENARIOS

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "statistics"
FOUND = pages.read(FOLDER)
USERS = users.read(FOLDER)


def test_the_pages_are_these() -> None:
    assert pages.pages_of(FOLDER) == [ROOT / "docs" / "statistics.md", ROOT / "README.md"]


@pytest.mark.parametrize("page", pages.pages_of(FOLDER), ids=lambda page: page.name)
def test_tables_agree_with_the_results(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "<!-- gates-bench: " in text
    assert pages.filled(text, pages.tables_of(FOLDER, FOUND)) == text, (
        "write them anew: python -m rollout.gates_bench.cli --pages"
    )


def test_plots_agree_with_the_results() -> None:
    drawings = plots.all_of(FOUND)
    assert {path.name for path in FOLDER.glob("*.svg")} == set(drawings)
    assert all((FOLDER / name).read_text("utf-8") == drawing for name, drawing in drawings.items())


def test_the_results_are_of_every_scenario() -> None:
    assert [row.scenario for row in FOUND.rows] == [scenario.name for scenario in SCENARIOS]
    assert set(summary(FOUND.rows)) == {
        f"{name}{part}" for name in RATES for part in ("", "_ci95", "_runs", "_scenario")
    }
    cost_us = FOUND.targets[-1].found
    assert cost_us is not None
    assert targets(FOUND.rows, cost_us) == FOUND.targets


def test_the_ramps_by_user_are_of_every_scenario() -> None:
    assert USERS is not None
    assert tuple(row.scenario for row in USERS.rows) == USERS_SCENARIOS
