import pytest

from rollout.core.evidence.estimates import Asked, estimate_of, text_of
from rollout.core.evidence.interval import Moments, interval, moments, smallest_margin_excluded
from rollout.core.evidence.score import score
from rollout.core.gates import Estimate

ASKED = Asked(margin=0.05, in_outcome=0.05, alpha=0.03, passed_s=100.0, harm_value=0.5)
LATENCY = ASKED._replace(margin=0.2, in_outcome=0.0)


@pytest.fixture
def seen(units) -> Moments:
    rows = [(50_000, number % 2 == 0, float(number % 50 > 1), 0.96) for number in range(2_000)]
    return moments(score(units(rows)), 1_000)


def test_nothing_seen_is_nothing_said() -> None:
    estimate = estimate_of(Moments(), ASKED, excluded=None, proven=False)
    assert estimate == Estimate(margin=0.05, harm_value=0.5)
    assert text_of(estimate, ASKED) == "no unit has come of age"


def test_an_effect_comes_with_what_it_is_worth(seen) -> None:
    estimate = estimate_of(seen, ASKED, excluded=None, proven=False)
    bounds = interval(seen, 0.03)
    assert (estimate.effect, estimate.lower, estimate.upper) == (seen.estimate, bounds.lower, bounds.upper)
    assert estimate.excluded == smallest_margin_excluded(seen, 0.03)
    assert estimate.expected_s is not None
    assert text_of(estimate, ASKED).startswith("effect +0.0000, between -0.0")
    assert "margin 0.05, 0.0" in text_of(estimate, ASKED)
    assert "decided in about" in text_of(estimate, ASKED)


def test_what_is_proven_is_not_waited_for(seen) -> None:
    assert estimate_of(seen, ASKED, excluded=None, proven=True).expected_s == 0.0


def test_without_time_nobody_can_say_how_long_it_takes(seen) -> None:
    estimate = estimate_of(seen, ASKED._replace(passed_s=0.0), excluded=None, proven=False)
    assert estimate.expected_s is None
    assert "decided" not in text_of(estimate, ASKED)


def test_a_margin_excluded_is_never_below_none(seen, units) -> None:
    better = moments(score(units([(50_000, each % 2 == 0, float(each % 2 == 0), 0.5) for each in range(4_000)])), 2_000)
    assert estimate_of(better, ASKED, excluded=None, proven=True).excluded == 0.0


def test_margins_of_latency_are_parts_of_a_time(seen) -> None:
    text = text_of(estimate_of(seen, LATENCY, excluded=0.15, proven=False), LATENCY)
    assert "margin +20% of the baseline's time, +15% and slower is excluded" in text
    nothing_yet = estimate_of(seen, LATENCY, excluded=None, proven=False)
    assert nothing_yet.excluded is None
    assert "no margin is excluded yet" in text_of(nothing_yet, LATENCY)
