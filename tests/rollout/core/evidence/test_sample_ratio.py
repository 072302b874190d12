import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from rollout.core.evidence.counts import ArmCounts
from rollout.core.evidence.sample_ratio import ALPHA, log_value, mismatch
from rollout.core.model import BUCKETS

Path = tuple[tuple[int, int], ...]
SURE = Fraction(1)


def share_after(past: Path) -> int:
    return (1_000, 5_000, 50_000)[min(sum(candidate for candidate, _ in past), 2)]


def seen(path: Path) -> ArmCounts:
    drawn = Counter((share_after(path[:index]), candidate) for index, (candidate, _) in enumerate(path))
    shares = sorted({share for share, _ in drawn})
    return ArmCounts(tuple((share, drawn[share, 1], drawn[share, 0]) for share in shares))


def test_no_wealth_is_expected_under_the_null(every_path: Callable[..., Iterator[tuple[Path, Fraction]]]) -> None:
    expected = 0.0
    for path, likely in every_path(lambda past: (Fraction(share_after(past), BUCKETS), SURE, SURE), 7):
        looks = [math.exp(log_value(seen(path[:length]))) for length in range(1, 8)]
        expected += float(likely) * next((value for value in looks if value > 1.5), looks[-1])
    assert math.isclose(expected, 1.0, rel_tol=1e-12)


def test_a_tenth_of_the_candidates_units_lost_is_a_mismatch() -> None:
    assert mismatch(ArmCounts(((50_000, 9_000, 10_000),)))
    assert not mismatch(ArmCounts(((50_000, 9_900, 10_000),)))


def test_too_many_are_as_wrong_as_too_few() -> None:
    assert mismatch(ArmCounts(((5_000, 1_500, 19_000),)))
    assert mismatch(ArmCounts(((5_000, 500, 19_000),)))


def test_nothing_seen_is_no_mismatch() -> None:
    assert log_value(ArmCounts()) == 0.0
    assert not mismatch(ArmCounts())


def test_fair_draws_under_a_ramp_are_no_mismatch_at_any_look() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        before: tuple[tuple[int, int, int], ...] = ()
        for share in (1_000, 5_000, 25_000, 50_000):
            candidates = (random.random((20, 500)) * BUCKETS < share).sum(axis=1).cumsum().tolist()
            for looks, drawn in enumerate(candidates, start=1):
                total = ArmCounts((*before, (share, drawn, looks * 500 - drawn)))
                assert not mismatch(total)
            before = total.by_share


def test_the_level_is_one_in_a_thousand() -> None:
    assert ALPHA == 0.001
