"""What a judge says of both arms' answers to the same prompts: how often each wins, with an interval.

Wins less losses, each by the number of prompts, is a difference of paired proportions of which only the discordant
cells are known: Tango's score interval needs no more (Tango 1998, "Equivalence test and confidence interval for the
difference in proportions for the paired-sample design", Statistics in Medicine 17:891-908). The win rate less one half
is half of it. Like `paired` for one look at a set of prompts fixed beforehand.
"""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.evaluation.paired import Verdict, judge
from rollout.core.proportion import CONFIDENCE, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOST_RATIO_MAX = 0.05
LOST_ASKED_MIN = 20
_HALVINGS = 50
_TINY = 1e-300


class Judgement(msgspec.Struct, frozen=True):
    """One prompt. `w`: the candidate's win, None where the judge lost it (`result` says how) or was not asked.

    `key` stands for both answers, what was asked, and the judge's question; `version`: see `judging.prompt.version`.
    """

    key: str
    result: str
    w: float | None = None
    version: str = ""


class Wins(NamedTuple):
    """How often the candidate won, the baseline, or neither."""

    candidate: int = 0
    baseline: int = 0
    even: int = 0

    @property
    def difference(self) -> float | None:
        """The win rate less one half; None without a pair."""
        return (self.candidate - self.baseline) / sum(self) / 2 if any(self) else None


class WinReport(msgspec.Struct, frozen=True):
    """All prompts, or those of one feature. `interval`: 95 %, of the win rate less one half.

    `lost`: by reason, pairs that the judge was asked about in vain; beyond 5 % nothing is decided.
    """

    wins: Wins
    lost: dict[str, int]
    difference: float | None
    interval: Bounds | None
    verdict: str


class JudgeReport(msgspec.Struct, frozen=True):
    """All that a judge said. `versions`: as which it answered; more than one, and nothing is decided."""

    judge: str
    versions: list[str]
    verdict: str
    total: WinReport
    features: dict[str, WinReport]


def report_wins(judge_name: str, found: Sequence[tuple[str, Judgement]], max_drop: float) -> JudgeReport:
    """Sum up (group, judgement); `max_drop`: how far the win rate may be below one half."""
    versions = sorted({each.version for _, each in found} - {""})
    one = len(versions) <= 1
    total = _summed([each for _, each in found], max_drop, decides=one)
    groups = sorted({group for group, _ in found} - {""})
    features = {
        name: _summed([each for group, each in found if group == name], max_drop, decides=one) for name in groups
    }
    failed = any(each.verdict == Verdict.FAILED.value for each in features.values())
    return JudgeReport(judge_name, versions, Verdict.FAILED.value if failed else total.verdict, total, features)


def worse_of(verdict: str, other: str) -> str:
    """What two scorers say together: passed if both do, failed if one does."""
    order = [Verdict.PASSED.value, Verdict.UNDECIDED.value, Verdict.FAILED.value]
    return max(verdict, other, key=order.index)


def count_wins(judgements: Iterable[Judgement]) -> Wins:
    """Those with a score."""
    counts = Counter(each.w for each in judgements)
    return Wins(counts[1.0], counts[0.0], counts[0.5])


def tango(wins: Wins, confidence: float = CONFIDENCE) -> Bounds | None:
    """The interval of the win rate less one half; None without a pair."""
    if not any(wins):
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    mirrored = Wins(wins.baseline, wins.candidate, wins.even)
    return Bounds(_lower(wins, z) / 2, -_lower(mirrored, z) / 2)


def _summed(judgements: Sequence[Judgement], max_drop: float, *, decides: bool) -> WinReport:
    wins, interval = count_wins(judgements), tango(count_wins(judgements))
    lost = Counter(each.result for each in judgements if each.w is None)
    asked = sum(wins) + lost.total()
    lossy = asked >= LOST_ASKED_MIN and lost.total() > LOST_RATIO_MAX * asked
    verdict = judge(interval if decides and not lossy else None, max_drop).value
    return WinReport(wins, dict(lost.most_common()), wins.difference, interval, verdict)


def _lower(wins: Wins, z: float) -> float:
    """The smallest difference of wins and losses that is not rejected."""
    rejected, kept = -1.0, (wins.candidate - wins.baseline) / sum(wins)
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        if _score(wins, middle) > z:
            rejected = middle
        else:
            kept = middle
    return kept


def _score(wins: Wins, difference: float) -> float:
    """How many standard errors the wins lie above `difference`, at the most likely rate of losses under it."""
    won, lost, count = wins.candidate, wins.baseline, sum(wins)
    b = -won - lost + (2 * count - won + lost) * difference
    c = -lost * difference * (1 - difference)
    rate = (math.sqrt(max(0.0, b * b - 8 * count * c)) - b) / (4 * count)
    variance = count * (2 * rate + difference * (1 - difference))
    above = won - lost - count * difference
    return above / math.sqrt(max(variance, _TINY))
