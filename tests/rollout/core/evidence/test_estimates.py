import math

import pytest

from rollout.core.evidence.estimates import LATELY_S, Asked, Rate, Words, between, estimate_of, rate_of, text_of
from rollout.core.evidence.interval import Interval, Moments, interval, moments, smallest_margin_excluded
from rollout.core.evidence.score import score
from rollout.core.gates import Estimate

ASKED = Asked(margin=0.05, in_outcome=0.05, alpha=0.03, rate=Rate(20.0, 5.0), harm_value=0.5)
LATENCY = ASKED._replace(margin=0.2, in_outcome=0.0)
PLAIN, IN_TIME = Words(), Words(in_time=True)


@pytest.fixture
def seen(units) -> Moments:
    rows = [(50_000, number % 2 == 0, float(number % 50 > 1), 0.96) for number in range(2_000)]
    return moments(score(units(rows)), 1_000)


def test_nothing_seen_is_nothing_said() -> None:
    estimate = estimate_of(Moments(), ASKED, excluded=None, proven=False)
    assert estimate == Estimate(margin=0.05, harm_value=0.5)
    assert text_of(estimate, PLAIN) == "no unit has come of age"


def test_an_effect_comes_with_what_it_is_worth(seen) -> None:
    estimate = estimate_of(seen, ASKED, excluded=None, proven=False)
    bounds = interval(seen, 0.03)
    assert (estimate.effect, estimate.lower, estimate.upper) == (seen.estimate, bounds.lower, bounds.upper)
    assert estimate.excluded == smallest_margin_excluded(seen, 0.03)
    assert estimate.expected_s is None  # by the rule it should be decided, but the e-value has not moved
    assert text_of(estimate, PLAIN).startswith("effect +0.0000, between -0.0")
    assert "margin 0.05, 0.0" in text_of(estimate, PLAIN)
    assert "decided" not in text_of(estimate, PLAIN)


def test_what_is_proven_is_not_waited_for(seen) -> None:
    assert estimate_of(seen, ASKED, excluded=None, proven=True).expected_s == 0.0


def test_without_time_nobody_can_say_how_long_it_takes(seen) -> None:
    estimate = estimate_of(seen, ASKED._replace(rate=Rate(), log_value=1.0), excluded=None, proven=False)
    assert estimate.expected_s is None
    assert "decided" not in text_of(estimate, PLAIN)


def test_a_margin_excluded_is_never_below_none(seen, units) -> None:
    better = moments(score(units([(50_000, each % 2 == 0, float(each % 2 == 0), 0.5) for each in range(4_000)])), 2_000)
    assert estimate_of(better, ASKED, excluded=None, proven=True).excluded == 0.0


def test_margins_of_latency_are_parts_of_a_time(seen) -> None:
    text = text_of(estimate_of(seen, LATENCY, excluded=0.15, proven=False), IN_TIME)
    assert "margin +20% of the baseline's time, +15% and slower is excluded" in text
    nothing_yet = estimate_of(seen, LATENCY, excluded=None, proven=False)
    assert nothing_yet.excluded is None
    assert "no margin is excluded yet" in text_of(nothing_yet, IN_TIME)


def test_what_should_be_decided_is_expected_by_how_far_its_e_value_has_come(seen) -> None:
    halfway = ASKED._replace(log_value=-math.log(0.03) / 2)
    estimate = estimate_of(seen, halfway, excluded=None, proven=False)
    assert estimate.expected_s == pytest.approx(seen.n_eff / 5.0)
    assert "decided in about" in text_of(estimate, PLAIN)
    there = estimate_of(seen, ASKED._replace(log_value=9.0), excluded=None, proven=False)
    assert there.expected_s == 0.0
    assert "decided" not in text_of(there, PLAIN)
    soon = estimate_of(seen, ASKED._replace(in_outcome=0.001), excluded=None, proven=False)
    assert soon.expected_s is not None
    assert soon.expected_s > 60


def test_units_that_lack_are_waited_for(seen) -> None:
    more = ASKED._replace(units=2_400)
    assert estimate_of(seen, more, excluded=None, proven=True).expected_s == pytest.approx(20.0)
    assert estimate_of(seen, more._replace(rate=Rate()), excluded=None, proven=True).expected_s is None


def test_the_rate_is_that_of_what_came_new_lately(seen) -> None:
    young = rate_of((), seen, 1_000.0, 1_000.0 + LATELY_S)
    assert young == Rate(seen.units / LATELY_S, seen.n_eff / LATELY_S)
    parts = [(1_000.0, seen), (9_500.0, seen), (9_600.0, seen)]
    assert rate_of(parts, seen, 1_000.0, 10_000.0) == Rate(2 * seen.units / 500.0, 2 * seen.n_eff / 500.0)
    assert rate_of(parts[:1], seen, 1_000.0, 10_000.0) == rate_of((), seen, 1_000.0, 1_000.0) == Rate()


@pytest.mark.parametrize(("effect", "shown"), [(1.4, 1.0), (-7.0, -1.0), (0.25, 0.25)])
def test_no_effect_is_told_that_none_can_be(effect: float, shown: float) -> None:
    assert between(effect, Interval(-1.0, 1.0), 0.05, None).effect == shown


def test_floors_have_neither_sign_nor_margin() -> None:
    floor = Words("mean", floor=True, more="40 groups")
    text = text_of(Estimate(0.9, 0.8, 0.95, 0.85), floor)
    assert text == "mean 0.9000, between 0.8000 and 0.9500, floor 0.85, 40 groups"
    assert text_of(None, floor) == "no unit has come of age"
