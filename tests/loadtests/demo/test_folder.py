from pathlib import Path

import pytest

from loadtests.demo.errors import StateDirError
from loadtests.demo.folder import claimed, development_key, made_anew


def test_a_folder_is_made_absolute_and_kept_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with claimed(Path("a/b")) as folder:
        assert folder.root == tmp_path / "a" / "b"
        with (
            pytest.raises(StateDirError, match="another `glidepath demo` or `glidepath up` uses"),
            claimed(folder.root),
        ):
            pass
    with claimed(folder.root):
        pass


def test_a_place_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateDirError, match="cannot use the state directory") as caught, claimed(tmp_path / "file"):
        pass
    assert "--state-dir" in caught.value.hint


def test_the_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        key = development_key(folder, {})
        assert key.startswith("gp-")
        assert development_key(folder, {"GLIDEPATH_BOOTSTRAP_KEY": "other"}) == key
        assert folder.key.stat().st_mode & 0o777 == 0o600


def test_a_given_key_is_the_first(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        assert development_key(folder, {"GLIDEPATH_BOOTSTRAP_KEY": "given"}) == "given"
        assert development_key(folder, {}) == "given"


def test_a_run_begins_with_nothing_of_the_one_before(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        folder.store.touch()
        run = made_anew(folder)
        run.store.touch()
        assert made_anew(folder) == run
        assert not run.store.exists()
        assert folder.store.exists()


def test_a_run_that_finds_no_room_is_one_line(tmp_path: Path) -> None:
    with claimed(tmp_path) as folder:
        (folder.root / "run").touch()
        with pytest.raises(StateDirError, match=r"cannot make .* anew"):
            made_anew(folder)
