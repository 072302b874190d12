"""Bradley-Terry against oracles of another make: minorise-maximise for the strengths, jackknives for the spread."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence.bradley_terry import PRIOR, Comparison, rate, t_quantile


def by_name(found):
    return {each.name: each for each in found.ratings}


def minorised(votes: list[Comparison], reference: str, prior: float) -> dict[str, float]:
    """Hunter 2004, MM algorithms for generalized Bradley-Terry models, equation (3)."""
    wins: dict[tuple[str, str], float] = {}
    for _, one, other, win in votes:
        wins[one, other] = wins.get((one, other), 0.0) + win
        wins[other, one] = wins.get((other, one), 0.0) + 1 - win
    for pair in list(wins):
        wins[pair] += prior / 2
    names = sorted({name for pair in wins for name in pair})
    worth = dict.fromkeys(names, 1.0)
    for _ in range(20_000):
        for name in names:
            won = sum(count for (one, _), count in wins.items() if one == name)
            against = {other for one, other in wins if one == name}
            met = sum((wins[name, other] + wins[other, name]) / (worth[name] + worth[other]) for other in against)
            worth[name] = won / met
    return {name: log(worth[name] / worth[reference]) for name in names}


def drawn(chance: Random, names: list[str], strengths: dict[str, float], voters: int, each: int) -> list[Comparison]:
    votes = []
    for number in range(voters):
        for _ in range(each):
            one, other = chance.sample(names, 2)
            win = float(chance.random() < 1 / (1 + exp(strengths[other] - strengths[one])))
            votes.append(Comparison(f"v{number}", one, other, 0.5 if chance.random() < 0.1 else win))
    return votes


@pytest.mark.parametrize("prior", [PRIOR, 0.0])
@pytest.mark.parametrize("seed", range(3))
def test_strengths_are_the_maximum_that_another_algorithm_finds(seed: int, prior: float) -> None:
    names = ["a", "b", "c", "d"]
    votes = drawn(Random(seed), names, {"a": 0.0, "b": 0.5, "c": -0.4, "d": 1.0}, 12, 15)
    found, oracle = by_name(rate(votes, "a", prior=prior)), minorised(votes, "a", prior)
    assert {name: each.strength for name, each in found.items()} == pytest.approx(oracle, abs=1e-8)


def test_two_models_have_a_closed_form() -> None:
    """7 wins, 2 losses and a tie with a virtual tie: log odds of 8 to 3; voters spread as written out by hand."""
    wins = {"x": [1, 1, 1, 1, 0], "y": [1, 1, 0.5], "z": [1, 0]}
    votes = [Comparison(voter, "new", "old", win) for voter, each in wins.items() for win in each]
    new = by_name(rate(votes, "old"))["new"]
    p = 8 / 11
    assert new.strength == pytest.approx(log(8 / 3))
    curvature = 11 * p * (1 - p)
    scores = [sum(each) - len(each) * p for each in wins.values()]
    spread = sum(score**2 for score in scores) * 3 / 2 / curvature**2
    half = 4.303 * sqrt(max(spread, 1 / curvature))
    assert (new.lower, new.upper) == pytest.approx((log(8 / 3) - half, log(8 / 3) + half))
    assert new.win == pytest.approx(p)
    assert new.win_lower < new.win < new.win_upper


def test_voters_who_differ_widen_the_interval_as_the_jackknife_says() -> None:
    """Leave one voter out: an estimate of the same variance that shares no line with it."""
    chance, votes = Random(4), []
    for number in range(30):
        taste = chance.gauss(0, 1.5)
        votes += [
            Comparison(f"v{number}", "new", "old", float(chance.random() < 1 / (1 + exp(-taste)))) for _ in range(20)
        ]
    new = by_name(rate(votes, "old"))["new"]
    left_out = [
        by_name(rate([each for each in votes if each.voter != f"v{out}"], "old"))["new"].strength for out in range(30)
    ]
    mean = sum(left_out) / 30
    jackknife = sqrt(29 / 30 * sum((each - mean) ** 2 for each in left_out))
    error = (new.upper - new.lower) / 2 / t_quantile(29)
    assert error == pytest.approx(jackknife, rel=0.05)
    independent = 1 / sqrt(601 * new.win * (1 - new.win))
    assert error > 1.5 * independent


def test_voters_who_agree_do_not_make_few_votes_many() -> None:
    votes = [Comparison(f"v{number}", "new", "old", 1.0) for number in range(10)]
    new = by_name(rate(votes, "old"))["new"]
    assert new.strength == pytest.approx(log(10.5 / 0.5))
    error = (new.upper - new.strength) / t_quantile(9)
    assert error == pytest.approx(1 / sqrt(11 * new.win * (1 - new.win)))


def test_one_voter_gives_no_interval() -> None:
    found = rate([Comparison("v", "new", "old", 1.0)], "old")
    new, old = (by_name(found)[name] for name in ("new", "old"))
    assert (new.lower, new.upper, new.win_lower, new.win_upper) == (None,) * 4
    assert new.strength == pytest.approx(log(3))
    assert (old.strength, old.win, found.voters, found.votes) == (0.0, 0.5, 1, 1)


def test_the_reference_is_known_exactly() -> None:
    votes = [Comparison(voter, "new", "old", 1.0) for voter in "xyz"]
    old = by_name(rate(votes, "old"))["old"]
    assert (old.strength, old.lower, old.upper, old.votes) == (0.0, 0.0, 0.0, 3)


def test_who_never_met_the_reference_has_no_strength_against_it() -> None:
    votes = [
        Comparison("x", "b", "a", 1.0),
        Comparison("x", "c", "b", 0.5),
        Comparison("y", "y1", "y2", 1.0),
    ]
    found = rate(votes, "a")
    assert [each.name for each in found.ratings] == ["b", "c", "a", "y1", "y2"] or found.ratings[-2].strength is None
    assert [each.strength is None for each in found.ratings] == [False, False, False, True, True]
    assert [each.votes for each in rate(votes, "nobody").ratings] == [1, 2, 1, 1, 1]
    assert all(each.strength is None for each in rate(votes, "nobody").ratings)


def test_no_votes_and_votes_on_oneself_rate_nobody() -> None:
    assert rate([], "a") == ("a", 0, 0, ())
    assert rate([Comparison("x", "a", "a", 1.0)], "a") == ("a", 0, 0, ())


@given(st.randoms(use_true_random=False))
def test_the_order_of_votes_and_of_sides_does_not_matter(chance: Random) -> None:
    votes = drawn(chance, ["a", "b", "c"], {"a": 0.0, "b": 0.5, "c": -0.4}, 4, 5)
    turned = [
        Comparison(voter, other, one, 1 - win) if chance.random() < 0.5 else Comparison(voter, one, other, win)
        for voter, one, other, win in votes
    ]
    chance.shuffle(turned)
    assert rate(turned, "a") == rate(votes, "a")


def test_quantiles_fall_to_those_of_the_normal_distribution() -> None:
    values = [t_quantile(freedom) for freedom in range(1, 200)]
    assert all(before > after for before, after in pairwise(values))
    assert values[-1] == pytest.approx(1.972, abs=0.001)
    assert t_quantile(10**9) == pytest.approx(1.96, abs=1e-4)


def test_a_fit_that_is_cut_short_has_gone_the_right_way(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = [Comparison(voter, "new", "old", 1.0) for voter in "xyz"]
    whole = by_name(rate(votes, "old"))["new"].strength
    monkeypatch.setattr("rollout.core.evidence.bradley_terry._STEPS_MAX", 1)
    assert 0 < by_name(rate(votes, "old"))["new"].strength < whole
