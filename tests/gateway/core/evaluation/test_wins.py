import math
from itertools import product
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evaluation.wins import Judgement, Wins, count_wins, report_wins, tango, worse_of

COUNTS = st.integers(0, 60)


def likeliest_losses(wins: Wins, difference: float) -> float:
    """By looking everywhere: the rate of losses that fits best if wins less losses are `difference`."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def log_likelihood(rate: float) -> float:
        cells = (
            (wins.candidate, rate + difference),
            (wins.baseline, rate),
            (wins.even, 1 - 2 * rate - difference),
        )
        return sum(count * math.log(max(chance, 1e-12)) for count, chance in cells if count)

    for _ in range(200):
        third = (high - low) / 3
        if log_likelihood(low + third) < log_likelihood(high - third):
            low += third
        else:
            high -= third
    return (low + high) / 2


@pytest.mark.parametrize("wins", [Wins(12, 2, 36), Wins(30, 40, 30), Wins(5, 0, 45), Wins(1, 9, 0)])
def test_the_bounds_are_where_the_score_test_rejects(wins: Wins) -> None:
    bounds, z = tango(wins), NormalDist().inv_cdf(0.975)
    assert bounds is not None
    for bound, side in ((bounds.lower, 1.0), (bounds.upper, -1.0)):
        difference = 2 * bound
        rate = likeliest_losses(wins, difference)
        variance = sum(wins) * (2 * rate + difference - difference**2)
        above = wins.candidate - wins.baseline - sum(wins) * difference
        assert side * above / math.sqrt(variance) == pytest.approx(z, rel=1e-3)


@given(COUNTS, COUNTS, COUNTS)
def test_an_interval_holds_the_estimate_and_turns_with_the_arms(won: int, lost: int, even: int) -> None:
    wins = Wins(won, lost, even)
    bounds, turned = tango(wins), tango(Wins(lost, won, even))
    if not any(wins):
        assert (bounds, turned, wins.difference) == (None, None, None)
        return
    assert bounds is not None
    assert turned is not None
    assert wins.difference is not None
    assert -0.5 <= bounds.lower <= wins.difference + 1e-9
    assert wins.difference - 1e-9 <= bounds.upper <= 0.5
    assert bounds.lower == pytest.approx(-turned.upper)


def test_ties_alone_leave_little_room() -> None:
    bounds = tango(Wins(0, 0, 100))
    assert bounds is not None
    assert bounds.upper == -bounds.lower == pytest.approx(0.0185, abs=1e-3)


@pytest.mark.parametrize(("win", "loss"), [(0.35, 0.35), (0.2, 0.3), (0.05, 0.05)])
def test_nineteen_of_twenty_hold(win: float, loss: float) -> None:
    """Exactly, over all outcomes of forty prompts."""
    count, held = 40, 0.0
    for won, lost in product(range(count + 1), repeat=2):
        if won + lost > count:
            continue
        ways = math.comb(count, won) * math.comb(count - won, lost)
        chance = ways * win**won * loss**lost * (1 - win - loss) ** (count - won - lost)
        bounds = tango(Wins(won, lost, count - won - lost)) if chance > 1e-9 else None
        if bounds is not None and bounds.lower <= (win - loss) / 2 <= bounds.upper:
            held += chance
    assert held >= 0.935


def said(count: int, w: float | None, group: str = "", result: str = "x", version: str = "v") -> list:
    return [(group, Judgement(f"{group}{w}{number}", result, w, version)) for number in range(count)]


def test_wins_are_counted() -> None:
    made = [each for _, each in said(2, 1.0) + said(3, 0.0) + said(4, 0.5) + said(5, None)]
    assert count_wins(made) == (2, 3, 4)


def test_a_report_says_what_was_lost_and_decides() -> None:
    report = report_wins("third", said(150, 1.0) + said(100, 0.0) + said(5, None, result="nonsense"), 0.05)
    assert (report.judge, report.versions, report.verdict) == ("third", ["v"], "passed")
    assert (report.total.wins, report.total.lost) == ((150, 100, 0), {"nonsense": 5})
    assert report.total.difference == pytest.approx(0.1)
    assert report.total.interval is not None


def test_a_lossy_judge_decides_nothing() -> None:
    assert report_wins("j", said(150, 1.0) + said(9, None), 0.05).verdict == "undecided"
    assert report_wins("j", said(5, 1.0) + said(9, None), 0.5).verdict == "passed"


def test_a_judge_that_changed_decides_nothing() -> None:
    report = report_wins("j", said(150, 1.0) + said(150, 1.0, version="w") + said(9, 0.5, version=""), 0.05)
    assert (report.versions, report.verdict) == (["v", "w"], "undecided")


def test_a_group_that_loses_is_not_hidden() -> None:
    report = report_wins("j", said(900, 1.0, "good") + said(50, 0.0, "bad") + said(3, 0.5), 0.05)
    assert (report.total.verdict, report.verdict) == ("passed", "failed")
    assert {name: each.verdict for name, each in report.features.items()} == {"good": "passed", "bad": "failed"}


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [("passed", "passed", "passed"), ("passed", "undecided", "undecided"), ("failed", "undecided", "failed")],
)
def test_two_scorers_must_both_pass(one: str, other: str, both: str) -> None:
    assert worse_of(one, other) == worse_of(other, one) == both
