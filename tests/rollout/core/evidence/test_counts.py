import math

import pytest

from rollout.core.evidence.counts import ArmCounts, log_likelihood_ratios


def test_it_is_the_ratio_of_the_likelihoods_as_defined() -> None:
    counts = ArmCounts(((1_000, 3, 40), (50_000, 7, 2)))

    def likelihood(shift: float) -> float:
        found = 1.0
        for share, candidate, baseline in counts.by_share:
            odds = share / (100_000 - share) * math.exp(shift)
            found *= (odds / (1 + odds)) ** candidate * (1 / (1 + odds)) ** baseline
        return found

    shifts = (-1.5, 0.0, 0.3)
    expected = [math.log(likelihood(shift) / likelihood(0.0)) for shift in shifts]
    assert log_likelihood_ratios(counts, shifts) == pytest.approx(expected)


def test_nothing_counted_says_nothing() -> None:
    assert log_likelihood_ratios(ArmCounts(), (0.5, 2.0)) == [0.0, 0.0]
