"""Where pairs of answers go: a sink that takes each one, and the queue in which a judge finds them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.shadowing import ShadowPair

QUEUE_MAX = 256
QUEUE_MAX_BYTES = 16 * 1024 * 1024
_ANSWERED_BYTES = 512


class PairSink(Protocol):
    """Whoever wants the pairs. `take` returns at once, keeps what it needs, and logs nothing of it."""

    def take(self, pair: ShadowPair) -> int:
        """Take one pair; how many were lost by it."""
        ...


class CallSink(Protocol):
    """Whoever wants to know how shadow calls end."""

    def __call__(self, feature: str, revision: int, arm: str, *, answered: bool) -> None:
        """Take one. `revision`: of the flag at the draw; `arm`: that was asked; `answered`: there is a pair."""
        ...


def nobody(feature: str, revision: int, arm: str, *, answered: bool) -> None:
    """CallSink that forgets it."""


class NoJudge:
    """Keeps nothing: the counters of the shadow calls say how many pairs there were."""

    def take(self, pair: ShadowPair) -> int:  # noqa: ARG002  nobody reads it
        """PairSink."""
        return 0


class PairQueue:
    """Pairs that wait for a judge, oldest first; who comes too late loses the oldest."""

    def __init__(self, *, count_max: int = QUEUE_MAX, bytes_max: int = QUEUE_MAX_BYTES) -> None:
        self._pairs: deque[ShadowPair] = deque()
        self._count_max, self._bytes_max = count_max, bytes_max
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def oldest(self) -> ShadowPair | None:
        """The one that `pop` would give."""
        return self._pairs[0] if self._pairs else None

    def take(self, pair: ShadowPair) -> int:
        """PairSink; a pair that is too large alone is lost itself."""
        self._pairs.append(pair)
        self._bytes += size_of(pair)
        lost = 0
        while self._pairs and (len(self._pairs) > self._count_max or self._bytes > self._bytes_max):
            self.pop()
            lost += 1
        return lost

    def pop(self) -> ShadowPair | None:
        """Give the oldest pair away, None if there is none."""
        if not self._pairs:
            return None
        pair = self._pairs.popleft()
        self._bytes -= size_of(pair)
        return pair


def size_of(pair: ShadowPair) -> int:
    """About how many bytes of memory it takes; a character counts as the four bytes it may have."""
    return len(pair.prompt) + 4 * (len(pair.assigned.text) + len(pair.other.text)) + _ANSWERED_BYTES
