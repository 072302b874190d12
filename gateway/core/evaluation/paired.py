"""How much worse the candidate is on the same prompts: a difference of paired proportions, with an interval.

Newcombe's method 10 (Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions
based on paired data", Statistics in Medicine 17:2635-2650): Wilson's intervals of both arms, squared and added, with
their correlation. It holds where prompts are few and both arms are near 100 %, where McNemar's test and the bootstrap
say "no difference, certainly". For one look at a set of prompts fixed beforehand; not for looking again and again.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.proportion import CONFIDENCE, Bounds, wilson

if TYPE_CHECKING:
    from collections.abc import Iterable

_DECIDES = 2.8
"""Standard errors of distance from the limit with which four of five runs decide: z(0.975) + z(0.8)."""


class Pairs(NamedTuple):
    """How often both arms were right, only one of them, or none."""

    both: int = 0
    candidate_only: int = 0
    baseline_only: int = 0
    neither: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline; None without pairs."""
        return (self.candidate_only - self.baseline_only) / self.total if self.total else None


class Verdict(Enum):
    """Whether the candidate may be worse by more than what was allowed."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


def count_pairs(pairs: Iterable[tuple[bool, bool]]) -> Pairs:
    """Count (candidate right, baseline right)."""
    cells = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for pair in pairs:
        cells[pair] += 1
    return Pairs(*cells.values())


def newcombe(pairs: Pairs, confidence: float = CONFIDENCE) -> Bounds | None:
    """The interval of candidate minus baseline; None without pairs."""
    difference, count = pairs.difference, pairs.total
    if difference is None:
        return None
    first, second = pairs.both + pairs.candidate_only, pairs.both + pairs.baseline_only
    one, other = wilson(first, count, confidence), wilson(second, count, confidence)
    below, above = first / count - one.lower, one.upper - first / count
    other_below, other_above = second / count - other.lower, other.upper - second / count
    phi = _correlation(pairs)
    return Bounds(
        difference - math.sqrt(max(0.0, below**2 - 2 * phi * below * other_above + other_above**2)),
        difference + math.sqrt(max(0.0, other_below**2 - 2 * phi * other_below * above + above**2)),
    )


def judge(bounds: Bounds | None, max_drop: float) -> Verdict:
    """Passed if all of the interval is above -`max_drop`, failed if all of it is below."""
    if bounds is None or bounds.lower < -max_drop <= bounds.upper:
        return Verdict.UNDECIDED
    return Verdict.FAILED if bounds.upper < -max_drop else Verdict.PASSED


def prompts_to_decide(pairs: Pairs, max_drop: float) -> int | None:
    """About how many prompts four of five such runs would need; None if the difference is at the limit, or unknown."""
    difference = pairs.difference
    if difference is None or difference == -max_drop:
        return None
    discordant = (pairs.candidate_only + pairs.baseline_only + 1) / (pairs.total + 1)
    variance = max(discordant - difference**2, 0.0)
    return math.ceil(_DECIDES**2 * variance / (difference + max_drop) ** 2)


def _correlation(pairs: Pairs) -> float:
    """Phi with the continuity correction of method 10; 0 where a margin is empty."""
    both, one, other, neither = pairs
    margins = (both + one) * (other + neither) * (both + other) * (one + neither)
    if not margins:
        return 0.0
    product = both * neither - one * other
    corrected = max(product - pairs.total / 2, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)
