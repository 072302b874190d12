from pathlib import Path

import msgspec
import pytest

from rollout.gates_bench.cli import main
from rollout.gates_bench.results import Results
from rollout.gates_bench.users import results as users


def test_a_reduced_run_is_the_same_on_any_number_of_processes(tmp_path: Path) -> None:
    found = []
    for processes in ("1", "2"):
        arguments = ["--runs", "2", "--only", "errors 1 -> 30 %", "--processes", processes]
        assert main([*arguments, "--output", str(tmp_path / processes)]) == 0
        found.append(msgspec.json.decode((tmp_path / processes / "latest.json").read_bytes()))
    assert found[0]["rows"] == found[1]["rows"]
    assert found[0]["paths"] == found[1]["paths"]
    assert found[0]["missed_harm_max"] == 0.0
    assert found[0]["missed_harm_max_runs"] == 2


@pytest.mark.slow
def test_a_reduced_run_beside_rivals_with_another_engine(tmp_path: Path) -> None:
    arguments = ["--runs", "2", "--only", "30 %", "--rivals", "--rival-runs", "2", "--processes", "2"]
    assert main([*arguments, "--engine", '{"epoch_batches": 2}', "--output", str(tmp_path)]) == 0
    written = msgspec.json.decode((tmp_path / "latest.json").read_bytes(), type=Results)
    assert written.engine.epoch_batches == 2
    assert {row.scenario for row in written.rivals} == {row.scenario for row in written.rows}


def test_users_are_a_campaign_of_their_own(tmp_path: Path, results: Results) -> None:
    folder = tmp_path / "docs" / "statistics"
    arguments = ["--users", "--runs", "1", "--only", "equal traffic, ICC 0.3, harm", "--processes", "1"]
    assert main([*arguments, "--output", str(folder)]) == 0
    (row,) = (users.read(folder) or pytest.fail("nothing was written")).rows
    assert (row.scenario.icc, row.rolled_back.hits) == (0.3, 1)
    assert [each.name for each in folder.iterdir()] == [users.FILE]
    page = tmp_path / "docs" / "statistics.md"
    page.write_text("<!-- gates-bench: users -->\nold\n<!-- /gates-bench -->", "utf-8")
    (folder / "latest.json").write_bytes(before := msgspec.json.encode(results))
    assert main([*arguments, "--output", str(folder)]) == 0
    assert "| equal | 0.3 | harm | 100.0% " in page.read_text("utf-8")
    assert (folder / "latest.json").read_bytes() == before


def test_pages_can_be_written_anew(tmp_path: Path, results: Results) -> None:
    (tmp_path / "latest.json").write_bytes(msgspec.json.encode(results))
    assert main(["--pages", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "e-values.svg").is_file()


def test_an_unknown_scenario_and_a_wrong_engine_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no such"]) == 2
    assert "no scenario" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--engine", '{"epochs": 6}'])
    assert "unknown field" in capsys.readouterr().err
