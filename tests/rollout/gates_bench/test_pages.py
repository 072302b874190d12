from pathlib import Path

import pytest

from rollout.gates_bench import pages, tables
from rollout.gates_bench.results import Results

PLACE = "<!-- gates-bench: {} -->\n{}<!-- /gates-bench -->"
OLD = "old\n"


def test_places_are_filled_and_all_else_is_kept(tmp_path: Path, results: Results) -> None:
    folder = tmp_path / "docs" / "statistics"
    folder.mkdir(parents=True)
    page, readme = tmp_path / "docs" / "statistics.md", tmp_path / "README.md"
    page.write_text(f"Before\n{PLACE.format('ends', OLD)}\nbetween {PLACE.format('harm', '')} after\n", "utf-8")
    readme.write_text(PLACE.format("rates", "old\n"), "utf-8")
    pages.write(folder, results)
    found = tables.all_of(results)
    between = f"\nbetween {PLACE.format('harm', found['harm'])} after\n"
    assert page.read_text("utf-8") == f"Before\n{PLACE.format('ends', found['ends'])}{between}"
    assert readme.read_text("utf-8") == PLACE.format("rates", found["rates"])
    assert pages.read(folder) == results
    assert {each.name for each in folder.iterdir()} == {
        "latest.json",
        "error-rates.svg",
        "exposure.svg",
        "e-values.svg",
    }


def test_users_have_a_table_once_they_were_measured(tmp_path: Path, results: Results) -> None:
    assert pages.tables_of(tmp_path, results) == tables.all_of(results) | {"users": "Not measured.\n"}
    (tmp_path / "users.json").write_text('{"command": "x", "runs": 2, "took_s": 1, "processes": 1, "rows": []}')
    assert pages.tables_of(tmp_path, results)["users"].startswith("| traffic | ICC |")


def test_without_pages_there_are_files_alone(tmp_path: Path, results: Results) -> None:
    folder = tmp_path / "own" / "results"
    folder.mkdir(parents=True)
    pages.write(folder, results)
    assert pages.pages_of(folder) == []
    assert (folder / "latest.json").is_file()


def test_a_place_that_nobody_knows_is_a_fault() -> None:
    with pytest.raises(KeyError):
        pages.filled(PLACE.format("nothing", ""), {})
