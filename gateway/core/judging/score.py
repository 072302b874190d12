"""What becomes of a pair: a score from the verdicts in both orders, or a reason why there is none."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from gateway.core.judging.verdict import Winner
from rollout.core.evidence.pairwise import EVEN


class Result(StrEnum):
    """How a pair was judged: label values, so the set is closed.

    FIRST, SECOND: the judge stuck to a place, whichever arm stood there. HALF: a tie in one order only. SAME: the
    answers are equal letter by letter, so nobody was asked.
    """

    CANDIDATE = "candidate"
    BASELINE = "baseline"
    TIE = "tie"
    FIRST = "first"
    SECOND = "second"
    HALF = "half"
    SAME = "same"


class Miss(StrEnum):
    """Why a pair has no score: label values likewise."""

    UNKNOWN_JUDGE = "unknown_judge"
    WITHDRAWN = "withdrawn"
    RESIDENCY = "residency"
    UNREADABLE = "unreadable"
    NO_REFERENCE = "no_reference"
    STALE = "stale"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    TOO_LARGE = "too_large"
    STATUS = "status"
    RATE_LIMITED = "rate_limited"
    NO_COMPLETION = "no_completion"
    NONSENSE = "nonsense"
    CHANGED = "changed"
    CIRCUIT = "circuit"
    DRAINING = "draining"
    DEFECT = "defect"


LOST = frozenset(
    {
        *(Miss.TIMEOUT, Miss.UNREACHABLE, Miss.BROKEN, Miss.TOO_LARGE, Miss.STATUS, Miss.RATE_LIMITED),
        *(Miss.NO_COMPLETION, Miss.NONSENSE, Miss.CHANGED, Miss.CIRCUIT, Miss.DEFECT),
    }
)
"""What became of the judge's own answers, and so may depend on what it was shown: evidence counts how many.

The others are decided without a look at the answers: somebody else's matter, no budget left, too old, an end.
"""


BY_RULE = frozenset(
    {Miss.WITHDRAWN, Miss.RESIDENCY, Miss.UNREADABLE, Miss.NO_REFERENCE, Miss.BUDGET},
)
"""That a pair has no score is as the configuration wants it, and no sign of a judge that is down."""


class Judged(NamedTuple):
    """`w`: the candidate's win, 0, 1/2 or 1."""

    result: Result
    w: float


class Scored(msgspec.Struct, frozen=True):
    """One judged pair, without anything that people wrote.

    `unit_kind`, `unit`: what was randomised, of `tenant`. `assigned`: the arm the caller got. `candidate`, `baseline`:
    the upstreams that answered. `w`: the candidate's win. `paired_at_s`, `at_s` (Unix): when both answers were there,
    and when the score was. `judge_version`: see `prompt.version`; evidence starts afresh when it changes. Equal
    answers have the one that was in force.
    """

    request_id: str
    feature: str
    revision: int
    tenant: str
    unit_kind: str
    unit: str
    assigned: str
    candidate: str
    baseline: str
    w: float
    result: Result
    judge: str
    judge_version: str
    paired_at_s: float
    at_s: float


class Lost(NamedTuple):
    """A pair that a judge was asked about in vain. `judge_version`: its last one known, or `NO_VERSION`."""

    feature: str
    revision: int
    judge_version: str


class Spared(NamedTuple):
    """A pair that gets no score by rule. `paired_at_s` (Unix): when both answers were there."""

    feature: str
    revision: int
    paired_at_s: float


NO_VERSION = ""
SAME = Judged(Result.SAME, EVEN)
_RESULTS = {
    (Winner.FIRST, Winner.SECOND): Judged(Result.CANDIDATE, 1.0),
    (Winner.SECOND, Winner.FIRST): Judged(Result.BASELINE, 0.0),
    (Winner.TIE, Winner.TIE): Judged(Result.TIE, EVEN),
    (Winner.FIRST, Winner.FIRST): Judged(Result.FIRST, EVEN),
    (Winner.SECOND, Winner.SECOND): Judged(Result.SECOND, EVEN),
}
_HALF = Judged(Result.HALF, EVEN)


def judged(candidate_first: Winner, baseline_first: Winner) -> Judged:
    """From the winners with the candidate in the first place and with the baseline there.

    Only what holds in both orders is a win: a verdict that turns with the order, or fades, is a tie.
    """
    return _RESULTS.get((candidate_first, baseline_first), _HALF)
