from pathlib import Path

import msgspec
import pytest

from rollout.gates_bench.cli import main, missed


@pytest.mark.slow
def test_a_reduced_run_writes_what_the_full_one_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "2", "--only", "30 %", "--processes", "2", "--output", str(tmp_path)]) == 0
    written = msgspec.json.decode((tmp_path / "latest.json").read_bytes())
    assert written["missed_harm_max"] == 0.0
    assert written["missed_harm_max_runs"] == 2
    assert {row["scenario"] for row in written["rows"]} > {"errors 1 -> 30 %"}
    assert (tmp_path / "latest.md").read_text("utf-8") == capsys.readouterr().out


def test_an_unknown_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no such"]) == 2
    assert "no scenario" in capsys.readouterr().err


def test_a_target_is_missed_only_by_more_than_chance() -> None:
    assert missed({"false_rollback_max": 0.03, "false_rollback_max_ci95": (0.01, 0.06)}) == []
    assert missed({"false_rollback_max": 0.05, "false_rollback_max_ci95": (0.03, 0.08)}) == ["false_rollback_max"]
