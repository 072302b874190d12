"""People's votes on pairs of answers, as stored: which answer is better, never what the answers said."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.bradley_terry import Comparison
from rollout.core.model import FeatureName, UpstreamName

if TYPE_CHECKING:
    from collections.abc import Iterable

VOTES_MAX = 20_000
"""Of one feature."""
KEEP_S = 365 * 86_400.0
"""A feature's votes are forgotten when none was given for this long."""

PairId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Choice(StrEnum):
    """What a voter found. BOTH_BAD is a tie, SKIP no comparison."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    SKIP = "skip"


_WINS = {Choice.CANDIDATE: 1.0, Choice.BASELINE: 0.0, Choice.TIE: 0.5, Choice.BOTH_BAD: 0.5}


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One voter's last word on one pair. `candidate`, `baseline`: the upstreams that answered; `at_s`: Unix time."""

    feature: FeatureName
    pair: PairId
    voter: Annotated[str, Meta(min_length=1, max_length=200)]
    choice: Choice
    candidate: UpstreamName
    baseline: UpstreamName
    at_s: float


def checked(vote: Vote) -> bytes:
    """The vote as JSON; InvalidArgument for one that could not be read back."""
    try:
        raw = msgspec.json.encode(vote)
        msgspec.json.decode(raw, type=Vote)
    except (msgspec.ValidationError, UnicodeError) as fault:
        raise InvalidArgument(f"such a vote can't be kept: {fault}", "vote on a pair that was shown") from fault
    return raw


def too_many() -> InvalidArgument:
    """The fault of a vote that would be one too many."""
    return InvalidArgument(f"the feature has {VOTES_MAX} votes already", "that is as many as are kept")


def in_order(votes: Iterable[Vote]) -> list[Vote]:
    """Oldest first; at the same time by pair and voter."""
    return sorted(votes, key=lambda vote: (vote.at_s, vote.pair, vote.voter))


def comparisons(votes: Iterable[Vote]) -> list[Comparison]:
    """What ratings are made of."""
    return [
        Comparison(vote.voter, vote.candidate, vote.baseline, _WINS[vote.choice])
        for vote in votes
        if vote.choice in _WINS
    ]


def majorities(votes: Iterable[Vote]) -> dict[str, tuple[int, int]]:
    """Pair -> votes for its candidate, votes for its baseline; only pairs in which one of them has more."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for vote in votes:
        if vote.choice in {Choice.CANDIDATE, Choice.BASELINE}:
            found[vote.pair][vote.choice is Choice.BASELINE] += 1
    return {pair: (ours, theirs) for pair, (ours, theirs) in found.items() if ours != theirs}
