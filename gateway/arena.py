"""Shows kept pairs to voters and takes their votes. Of one replica: its own pairs, everybody's votes."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.arena import LOOKED_AT_MAX, candidate_is_left, choice_of, chosen, opened, sealed
from gateway.core.kept_counts import count_kept, why_no_pair
from gateway.shadow_budget import Quotas, is_spent
from rollout.core.errors import InvalidArgument, UnknownFeature
from rollout.core.evidence.bradley_terry import rate
from rollout.core.votes import Vote, comparisons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.arena import Verdict
    from gateway.core.keeping import Message, Texts
    from gateway.spool_files import SpoolFiles
    from rollout.core.evidence.bradley_terry import Ratings
    from rollout.core.model import FeatureFlag

SHOWN_MAX = 10_000
_KEY_BYTES, _NONCE_BYTES = 32, 12


class VoteStore(Quotas, Protocol):
    """What of the store it needs."""

    async def put_vote(self, vote: Vote) -> None:
        """As `Store.put_vote`."""
        ...

    async def votes(self, feature: str) -> list[Vote]:
        """As `Store.votes`."""
        ...


class Shown(NamedTuple):
    """What a voter sees: nothing of it says whose answer is where."""

    ticket: str
    messages: tuple[Message, ...]
    left: str
    right: str


class Revealed(NamedTuple):
    """What a voter learns after the vote: the upstreams that answered."""

    left: str
    right: str


class Arena:
    """What the arena's routes do."""

    def __init__(
        self,
        files: SpoolFiles,
        store: VoteStore,
        flags: Callable[[], Mapping[str, FeatureFlag]],
        clock: Callable[[], float],
    ) -> None:
        """`clock`: Unix time."""
        self._files, self._store, self._flags, self._clock = files, store, flags, clock
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._shown: dict[str, tuple[str, str]] = {}

    def features(self) -> list[str]:
        """The names of features that keep pairs."""
        return sorted(name for name, flag in self._flags().items() if flag.shadow.keep.pairs)

    async def next_pair(self, feature: str, voter: str) -> Shown | None:
        """Show a pair that the voter has not voted on, None if there is none. UnknownFeature; StoreUnavailable."""
        self._known(feature)
        votes = await self._store.votes(feature)
        mine = frozenset(vote.pair for vote in votes if vote.voter == voter)
        counts = Counter(vote.pair for vote in votes)
        lines = self._files.read(feature, newest_first=True)
        texts = await asyncio.to_thread(chosen, lines, mine, counts, secrets.randbelow)
        return None if texts is None else self._show(feature, voter, texts)

    async def why_none(self, feature: str, voter: str) -> str:
        """Say why `next_pair` shows none, in a line. UnknownFeature; StoreUnavailable."""
        shadow = self._known(feature).shadow
        mine = frozenset(vote.pair for vote in await self._store.votes(feature) if vote.voter == voter)
        lines = islice(self._files.read(feature, newest_first=True), LOOKED_AT_MAX)
        kept = await asyncio.to_thread(count_kept, lines, mine)
        return why_no_pair(kept, shadow, spent=await is_spent(self._store, feature, shadow.daily_budget, self._clock()))

    async def vote(self, feature: str, voter: str, ticket: str, verdict: Verdict) -> Revealed:
        """Keep a vote, the first one: after it the voter knows whose answers they were. The same one may come again.

        InvalidArgument for a ticket that is not this voter's, or another vote; what the store raises.
        """
        self._known(feature)
        found = opened(self._key, feature, voter, ticket)
        models = None if found is None else self._shown.get(found[0])
        if found is None or models is None:
            raise InvalidArgument("this pair was not shown to you, or too long ago", "ask for the next one")
        candidate, baseline = models
        left = candidate_is_left(self._key, feature, voter, *found)
        choice = choice_of(verdict, candidate_left=left)
        before = [each for each in await self._store.votes(feature) if (each.pair, each.voter) == (found[0], voter)]
        if not before:
            await self._store.put_vote(Vote(feature, found[0], voter, choice, candidate, baseline, self._clock()))
        elif before[0].choice != choice:
            raise InvalidArgument(
                "you have voted on this pair, and know whose answers they are", "ask for the next one"
            )
        return Revealed(candidate, baseline) if left else Revealed(baseline, candidate)

    async def ratings(self, feature: str) -> Ratings:
        """Rate all that were voted on, against the present baseline. UnknownFeature; StoreUnavailable."""
        flag = self._known(feature)
        votes = await self._store.votes(feature)
        return await asyncio.to_thread(rate, comparisons(votes), flag.baseline)

    def _known(self, feature: str) -> FeatureFlag:
        flags = self._flags()
        if feature not in flags:
            raise UnknownFeature(feature, flags)
        return flags[feature]

    def _show(self, feature: str, voter: str, texts: Texts) -> Shown | None:
        if texts.candidate is None or texts.baseline is None:  # pragma: no cover - `chosen` takes whole pairs
            return None
        nonce = secrets.token_hex(_NONCE_BYTES)
        self._shown.pop(texts.id, None)
        self._shown[texts.id] = (texts.candidate.upstream, texts.baseline.upstream)
        if len(self._shown) > SHOWN_MAX:
            del self._shown[next(iter(self._shown))]
        left, right = texts.candidate.text, texts.baseline.text
        if not candidate_is_left(self._key, feature, voter, texts.id, nonce):
            left, right = right, left
        return Shown(sealed(self._key, feature, voter, texts.id, nonce), texts.messages, left, right)
