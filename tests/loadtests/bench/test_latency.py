from pathlib import Path

import pytest

from loadtests.bench.cores import Cores
from loadtests.bench.figures import Cell, Figure
from loadtests.bench.latency import able
from loadtests.bench.plan import QUICK
from loadtests.bench.stage import Skipped, Stage, Standing
from loadtests.bench.subjects import Subject


def test_a_subject_that_cannot_keep_up_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, QUICK, Cores((1,), 2, 0), {})
    standing = [Standing(Subject(name, (), 1, (1,), {}), 1) for name in ("fast", "just", "slow")]
    stage.figures["plain"] = [
        Figure(turn, Cell(name, "1 KB request", 1, 64), speed, 0, 0, 0, 0, 0, 0)
        for name, speeds in (("fast", (100, 5_000)), ("just", (1_200, 1_100)), ("slow", (60, 62)))
        for turn, speed in enumerate(speeds)
    ]
    assert able(stage, standing, 1_000) == {"fast"}
    assert stage.skipped == [
        Skipped("just at 1,000 requests/s", "it takes no more than 1,200/s"),
        Skipped("slow at 1,000 requests/s", "it takes no more than 62/s"),
    ]
    assert capsys.readouterr().err.count("WITHOUT") == 2
