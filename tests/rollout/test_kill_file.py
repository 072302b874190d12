from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rollout import kill_file
from rollout.kill_file import KillFileFault


def test_a_missing_file_kills_nothing(tmp_path: Path) -> None:
    assert kill_file.read(tmp_path / "none") == frozenset()


def test_an_operator_may_write_it_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    path.write_text("# at night\n\n summarize  # too slow\ndraft\n*\n")
    assert kill_file.read(path) == {"summarize", "draft", "*"}


def test_adding_and_removing_keep_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    path.write_text("# at night\ndraft\n")
    kill_file.add(path, "summarize", "ann: too\nslow # really")
    kill_file.add(path, "summarize", "again")
    assert path.read_text() == "# at night\ndraft\nsummarize  # ann: too slow # really\n"
    kill_file.remove(path, "draft")
    kill_file.remove(path, "absent")
    assert path.read_text() == "# at night\nsummarize  # ann: too slow # really\n"
    assert kill_file.read(path) == {"summarize"}


def test_a_kill_without_a_note_is_the_name_alone(tmp_path: Path) -> None:
    kill_file.add(tmp_path / "killed", "draft", "")
    assert (tmp_path / "killed").read_text() == "draft\n"


def test_writers_at_once_lose_no_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    names = [f"feature-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: kill_file.add(path, name, ""), names))
    assert kill_file.read(path) == set(names)


def test_a_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "killed"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(KillFileFault, match="cannot read"):
        kill_file.read(path)
    with pytest.raises(KillFileFault, match="cannot read"):
        kill_file.add(path, "draft", "")


def test_a_place_that_takes_no_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KillFileFault, match="cannot write") as fault:
        kill_file.add(tmp_path / "file" / "killed", "draft", "")
    assert fault.value.hint
