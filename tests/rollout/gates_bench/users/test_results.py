from pathlib import Path

import msgspec
import pytest

from rollout.gates_bench.users import results
from rollout.gates_bench.users.results import UsersResults


def test_a_row_counts_how_ramps_ended_and_what_decided_them(users_results: UsersResults) -> None:
    found = users_results.rows[0]
    assert (found.rolled_back.hits, found.completed.hits, found.held.hits, found.held.runs) == (1, 2, 1, 4)
    assert (found.requests.median, found.by_groups) == (26_400, 2)
    assert found.last_share == 2


def test_what_is_written_is_read_again(tmp_path: Path, users_results: UsersResults) -> None:
    results.write(tmp_path, users_results)
    assert results.read(tmp_path) == users_results
    (tmp_path / results.FILE).write_text("{}")
    with pytest.raises(msgspec.ValidationError):
        results.read(tmp_path)


def test_the_table_has_a_line_for_each_scenario(users_results: UsersResults) -> None:
    lines = results.told(users_results).splitlines()
    assert lines[2] == (
        "| equal | 0.1 | fine | 25.0% (4.6% to 69.9%) | 50.0% (15.0% to 85.0%) | 25.0% (4.6% to 69.9%) | "
        "26,400 / ∞ | 2 of 3 |"
    )
    assert lines[3].startswith("| Zipf | 0 | at the margin | 0 (≤ 49.0%) | 0 (≤ 49.0%) | 100.0% ")
    assert lines[3].endswith("| ∞ / ∞ | - |")
    assert lines[-3:] == [
        "4 runs of each, the last in 2 min on 2 processes.",
        "Fine: 1 of 4 ramps, 25.0% (4.6% to 69.9%), rolled back.",
        "At the margin: 0 of 4 ramps, 0 (≤ 49.0%), proven, 4 came to the last share.",
    ]


def test_what_was_not_measured_is_said_to_be_so(tmp_path: Path) -> None:
    assert results.told(results.read(tmp_path)) == "Not measured.\n"
