from pathlib import Path

import pytest

from loadtests.bench.cores import Cores
from loadtests.bench.plan import QUICK
from loadtests.bench.stage import Skipped, Stage, without_places


@pytest.mark.parametrize(
    ("text", "published"),
    [
        ("it did not listen / got 2", "it did not listen / got 2"),
        ("/home/me/x.toml: server.workers: must be 1", "... server.workers: must be 1"),
        ("no such version at https://registry.example/simple now", "no such version at ... now"),
        ("half/half stays", "half/half stays"),
    ],
)
def test_places_are_not_published(text: str, published: str) -> None:
    assert without_places(text) == published


def test_what_is_left_out_is_said_at_once_and_kept_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path, QUICK, Cores((1,), 2, 0), {})
    stage.skip("peer", "see /a/b/c")
    stage.skip("peer", "see /a/b/d")
    assert stage.skipped == [Skipped("peer", "see ...")]
    assert "WITHOUT peer: see /a/b/c\n" in capsys.readouterr().err
