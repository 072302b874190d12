import os
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from rollout.core.errors import InvalidDocument
from rollout.core.keys import KeyRecord
from rollout.keys import last_good
from rollout.keys.last_good import LastGoodKeys


def test_what_was_good_survives_a_restart(tmp_path: Path, first: KeyRecord) -> None:
    revoked = replace(first, id="key_2", priority="batch", concurrent_max=3, revoked_at_s=7.0)
    good = LastGoodKeys(7, 12.5, (first, revoked))
    last_good.write(tmp_path / "data" / "keys.json", good)
    assert last_good.read(tmp_path / "data" / "keys.json") == good


def test_only_the_owner_may_read_it_whatever_stood_there(tmp_path: Path, first: KeyRecord) -> None:
    path = tmp_path / "keys.json"
    path.write_text("older")
    path.chmod(0o666)
    mask = os.umask(0)
    try:
        last_good.write(path, LastGoodKeys(1, 1.0, (first,)))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_file_is_no_fault(tmp_path: Path) -> None:
    assert last_good.read(tmp_path / "none") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "\xff",
        '{"version": 1, "at_s": 1, "keys": [{}]}',
        '{"version": 1, "at_s": 1, "keys": [], "colour": 1}',
        '{"version":1,"at_s":1,"keys":[{"id":"k","digest":"d","name":"n","tenant":"t","created_at_s":1,"colour":1}]}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidDocument, match="cannot use the last good keys") as fault:
        last_good.read(path)
    assert fault.value.hint
    with pytest.raises(InvalidDocument):
        last_good.read(tmp_path)


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"exists|directory"):
        last_good.write(tmp_path / "file" / "keys.json", LastGoodKeys(1, 1.0, ()))
