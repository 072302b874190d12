"""A run's samples summed up: pure, and measured from what callers saw, not from the load generator's histogram."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

_PROBLEMS_KEPT = 10


class Sample(NamedTuple):
    """One request of a run; times in seconds, None where they don't apply."""

    feature: str
    conversation: str
    problem: str | None = None
    e2e_s: float | None = None
    ttft_s: float | None = None
    assigned: str | None = None
    matched: bool | None = None


class FeatureReport(msgspec.Struct, frozen=True):
    """One feature's figures, or those of all of them together."""

    requests: int
    errors: int
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    e2e_p50_s: float | None
    e2e_p95_s: float | None
    matched: int
    scored: int
    candidate_conversations: int
    assigned_conversations: int

    @property
    def error_ratio(self) -> float | None:
        """Return errors over requests; None without requests."""
        return self.errors / self.requests if self.requests else None

    @property
    def exact_match_ratio(self) -> float | None:
        """Return right answers over answers that could be checked; None when there were none."""
        return self.matched / self.scored if self.scored else None

    @property
    def candidate_share(self) -> float | None:
        """Return the share of conversations assigned to the candidate; None when no answer named an arm."""
        if not self.assigned_conversations:
            return None
        return self.candidate_conversations / self.assigned_conversations


class Report(msgspec.Struct, frozen=True):
    """A whole run: what was asked of it, what was achieved, and which thresholds it breached."""

    duration_s: float
    asked_rate: float
    arm_flips: int
    problems: dict[str, int]
    total: FeatureReport
    features: dict[str, FeatureReport]
    breaches: tuple[str, ...] = ()

    @property
    def achieved_rate(self) -> float:
        """Return the requests per second that were really sent."""
        return self.total.requests / self.duration_s


def quantile(values: Iterable[float], q: float) -> float | None:
    """Return the nearest-rank quantile; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def sum_up(samples: Sequence[Sample], duration_s: float, asked_rate: float) -> Report:
    """Return the report of a run, not yet judged."""
    by_feature: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_feature[sample.feature].append(sample)
    problems = Counter(sample.problem for sample in samples if sample.problem is not None)
    flips = sum(len(arms) - 1 for arms in _arms_by_conversation(samples).values())
    features = {name: _feature(found) for name, found in sorted(by_feature.items())}
    return Report(
        duration_s, asked_rate, flips, dict(problems.most_common(_PROBLEMS_KEPT)), _feature(samples), features
    )


def _arms_by_conversation(samples: Iterable[Sample]) -> dict[tuple[str, str], set[str]]:
    """Return the arms each conversation of a feature was assigned to; more than one is a flip."""
    arms: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        if sample.assigned is not None:
            arms[sample.feature, sample.conversation].add(sample.assigned)
    return arms


def _feature(samples: Sequence[Sample]) -> FeatureReport:
    ttft_s = [sample.ttft_s for sample in samples if sample.ttft_s is not None]
    # A failure is no fast answer: only whole answers have a latency.
    e2e_s = [sample.e2e_s for sample in samples if sample.e2e_s is not None and sample.problem is None]
    arms = _arms_by_conversation(samples)
    return FeatureReport(
        requests=len(samples),
        errors=sum(sample.problem is not None for sample in samples),
        ttft_p50_s=quantile(ttft_s, 0.5),
        ttft_p95_s=quantile(ttft_s, 0.95),
        e2e_p50_s=quantile(e2e_s, 0.5),
        e2e_p95_s=quantile(e2e_s, 0.95),
        matched=sum(sample.matched is True for sample in samples),
        scored=sum(sample.matched is not None for sample in samples),
        candidate_conversations=sum("candidate" in found for found in arms.values()),
        assigned_conversations=len(arms),
    )
