import msgspec

from loadtests.report import Sample, sum_up
from loadtests.summary import lines

SAMPLES = [
    Sample("copilot/draft", "c1", None, 1.5, 0.25, "candidate", matched=True),
    Sample("copilot/draft", "c2", "status 500"),
]


def test_a_run_that_held_says_so() -> None:
    head, draft, total, rate, verdict = lines(sum_up(SAMPLES[:1], 1.0, 2.0))
    assert head.split()[0] == "feature"
    assert draft.split() == ["copilot/draft", "1", "0", *["250", "ms"] * 2, *["1500", "ms"] * 2, "100.0%", "100.0%"]
    assert total.startswith("all")
    assert rate == "rate: 1.0 of 2.0 requests/s asked"
    assert verdict == "ok: all thresholds held"


def test_problems_and_breaches_are_listed_and_missing_figures_are_dashes() -> None:
    report = msgspec.structs.replace(sum_up(SAMPLES[1:], 1.0, 2.0), breaches=("too slow",))
    found = list(lines(report))
    assert found[1].split()[3:] == ["-"] * 6
    assert found[-3:] == ["problem: status 500 (1 x)", "breach: too slow", "FAILED"]
