import os

import pytest

from loadtests.bench import outcomes

CORE = min(os.sched_getaffinity(0))


def test_a_figure_comes_out_for_each_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "UNITS", 300)
    found = outcomes.costs_us(CORE, repeats=2)
    assert len(found) == 2
    assert all(0 < each < 10_000 for each in found)


def test_both_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(outcomes, "UNITS", 300)
    monkeypatch.setattr("sys.argv", ["outcomes", str(CORE), "1"])
    outcomes.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["8 metrics", "1 metrics", "a fixed piece of work"]
