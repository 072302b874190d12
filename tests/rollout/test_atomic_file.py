from pathlib import Path

import pytest

from rollout import atomic_file


def test_a_file_is_made_with_its_directory_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    atomic_file.replace(path, b"one, long text")
    atomic_file.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    target.mkdir()
    (target / "kept").write_text("kept")
    with pytest.raises(OSError, match="irectory"):
        atomic_file.replace(target, b"text")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]
    assert (target / "kept").read_text() == "kept"
