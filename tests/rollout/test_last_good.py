from pathlib import Path

import pytest

from rollout import last_good
from rollout.core.errors import InvalidDocument
from rollout.core.model import FeatureFlag
from rollout.core.position import Position

FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", revision=3, share_millipct=25_000)


def test_what_was_good_survives_a_restart(tmp_path: Path) -> None:
    good = last_good.LastGood(Position(5, 7), 12.5, {"f": FLAG})
    last_good.write(tmp_path / "good.json", good)
    assert last_good.read(tmp_path / "good.json") == good


def test_a_file_from_before_there_were_generations_is_read(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text('{"version": 7, "at_s": 1, "document": {}}')
    assert last_good.read(tmp_path / "good.json") == last_good.LastGood(Position(0, 7), 1.0, {})


def test_no_file_is_no_fault(tmp_path: Path) -> None:
    assert last_good.read(tmp_path / "none") is None


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version": 1, "at_s": 1, "document": {"x": 1}}', '{"version":1,"at_s":1,"document":{},"y":1}']
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "good.json"
    path.write_text(text)
    with pytest.raises(InvalidDocument) as fault:
        last_good.read(path)
    assert fault.value.hint
    with pytest.raises(InvalidDocument, match="cannot use"):
        last_good.read(tmp_path)
