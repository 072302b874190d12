"""How many requests one worker works on at once, who waits for a place, and who is sent away.

Interactive before batch, each first come, first served. A batch request that has waited for half of the longest wait
counts as interactive, so it can be late but not starve; until then an interactive one may take its place in a full
queue. Whoever leaves is gone at once, whatever the queue's length.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gateway.core.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import msgspec

T = TypeVar("T", bound="Hashable")
_BATCH = b"batch"
_FLEX = b'"flex"'


class Priority(StrEnum):
    """The two classes."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Decision(StrEnum):
    """What becomes of an offered entry."""

    START = "start"
    QUEUED = "queued"
    REFUSED = "refused"


class Offer(NamedTuple, Generic[T]):
    """The decision, and the entry that lost its place in the queue by it, which is to be refused."""

    decision: Decision
    displaced: T | None = None


class Shedding(Generic[T]):
    """Places for `requests_max` entries under way, and a queue for `queue_max` more, `queue_wait_s` at most.

    Times come from one clock that never goes back. `under_way` counts the entries that were started, be it by `offer`
    or by `release`, and not released yet.
    """

    def __init__(self, *, requests_max: int, queue_max: int, queue_wait_s: float) -> None:
        self._requests_max, self._queue_max, self._wait_s = requests_max, queue_max, queue_wait_s
        self._aged_s = queue_wait_s / 2
        # Since when each one waits, oldest first. Not dict: finding its first key again and again is quadratic.
        self._interactive: OrderedDict[T, float] = OrderedDict()
        self._batch: OrderedDict[T, float] = OrderedDict()
        self.under_way = 0

    @property
    def waiting(self) -> Mapping[Priority, int]:
        """How many wait, by class."""
        return {Priority.INTERACTIVE: len(self._interactive), Priority.BATCH: len(self._batch)}

    @property
    def retry_after_s(self) -> int:
        """When coming back is worth it: all who wait now will have been served or sent away by then."""
        return max(1, ceil(self._wait_s))

    @property
    def full(self) -> bool:
        """Whether an entry offered now would have to wait, or worse."""
        return self.under_way >= self._requests_max

    def take_place(self) -> bool:
        """Take a place if there is one; what `offer` does first, for whoever has nothing else to say yet."""
        if self.under_way >= self._requests_max:
            return False
        self.under_way += 1
        return True

    def offer(self, entry: T, priority: Priority, now_s: float) -> Offer[T]:
        """Take a place, or one in the queue, or neither. ValueError for an entry that waits already."""
        if entry in self._interactive or entry in self._batch:
            raise ValueError("this entry waits already")
        if self.take_place():
            return Offer(Decision.START)
        displaced = None
        if len(self._interactive) + len(self._batch) >= self._queue_max:
            if priority is Priority.BATCH or not self._displaceable(now_s):
                return Offer(Decision.REFUSED)
            displaced, _ = self._batch.popitem()
        (self._interactive if priority is Priority.INTERACTIVE else self._batch)[entry] = now_s
        return Offer(Decision.QUEUED, displaced)

    def release(self, now_s: float) -> T | None:
        """An entry that was started is done: the next one, which starts in its place. ValueError if none was."""
        if self.under_way == 0:
            raise ValueError("nothing is under way")
        line = self._next_line(now_s)
        if line is None:
            self.under_way -= 1
            return None
        entry, _ = line.popitem(last=False)
        return entry

    def expire(self, now_s: float) -> list[T]:
        """Remove whoever has waited too long; to be refused."""
        expired: list[T] = []
        for line in (self._interactive, self._batch):
            while line and now_s - line[next(iter(line))] >= self._wait_s:
                expired.append(line.popitem(last=False)[0])
        return expired

    def leave(self, entry: T) -> bool:
        """Remove an entry whose caller has gone; False if it didn't wait."""
        found = self._interactive.pop(entry, None)
        return found is not None or self._batch.pop(entry, None) is not None

    def _displaceable(self, now_s: float) -> bool:
        """Whether the batch entry that came last is still one."""
        return bool(self._batch) and now_s - self._batch[next(reversed(self._batch))] < self._aged_s

    def _next_line(self, now_s: float) -> OrderedDict[T, float] | None:
        """Whose turn it is: an aged batch entry competes with the interactive ones by age."""
        if not self._batch:
            return self._interactive or None
        if not self._interactive:
            return self._batch
        since_s = self._batch[next(iter(self._batch))]
        aged = now_s - since_s >= self._aged_s
        return self._batch if aged and since_s < self._interactive[next(iter(self._interactive))] else self._interactive


def priority_of(*allowed: str | None, header: bytes | None = None, service_tier: msgspec.Raw | None = None) -> Priority:
    """The class of a request. `allowed`: what its key and its tenant say, None for nothing.

    The caller may lower it, never raise it, with `x-glidepath-priority: batch` or OpenAI's `service_tier: "flex"`
    (cheaper, slower, may be refused when there is no room), given as a JSON slice. Any other word changes nothing.
    """
    lowered = header is not None and header.strip().lower() == _BATCH
    if lowered or Priority.BATCH in allowed or (service_tier is not None and bytes(service_tier) == _FLEX):
        return Priority.BATCH
    return Priority.INTERACTIVE


def overloaded(retry_after_s: int) -> ApiError:
    """429 for whoever found no place, or none in time."""
    text = "The gateway has more requests than it can serve now. Try again later."
    return ApiError(429, text, "server_error", code="overloaded", retry_after_s=retry_after_s)
