"""What a judge found, on its way out: to the sink of scores, and to the counters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.core.judging.score import BY_RULE, LOST, Lost, Scored, Spared
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.score import Judged, Miss
    from gateway.core.shadowing import Answered, ShadowPair
    from gateway.metrics import JudgeCounts
    from gateway.scores import ScoreSink


class JudgedPairs:
    """Of one judge. Each pair comes once, to `score` or to `miss`. `clock`: Unix time."""

    def __init__(
        self, judge: str, sink: ScoreSink, counts: JudgeCounts, clock: Callable[[], float] = time.time
    ) -> None:
        self.judge, self.clock, self.counts = judge, clock, counts
        self._sink = sink

    def score(self, pair: ShadowPair, found: Judged, version: str) -> None:
        """Hand on a score."""
        candidate, baseline = by_arm(pair)
        scored = Scored(
            request_id=pair.request_id,
            feature=pair.feature,
            revision=pair.revision,
            tenant=pair.tenant,
            unit_kind=pair.unit_kind,
            unit=pair.unit,
            assigned=pair.assigned.arm,
            candidate=candidate.upstream,
            baseline=baseline.upstream,
            w=found.w,
            result=found.result,
            judge=self.judge,
            judge_version=version,
            paired_at_s=pair.at_s,
            at_s=self.clock(),
        )
        self._sink.take(scored)
        self.counts.scores.add((pair.feature, self.judge, found.result))

    def miss(self, pair: ShadowPair, reason: Miss, version: str) -> None:
        """Say why there is no score; `version`: the judge's last one known."""
        if reason in LOST:
            self._sink.lose(Lost(pair.feature, pair.revision, version))
        elif reason in BY_RULE:
            self._sink.spare(Spared(pair.feature, pair.revision, pair.at_s))
        self.counts.missed.add((pair.feature, self.judge, reason))


def by_arm(pair: ShadowPair) -> tuple[Answered, Answered]:
    """The candidate's answer, the baseline's."""
    if pair.assigned.arm == Arm.CANDIDATE:
        return pair.assigned, pair.other
    return pair.other, pair.assigned
