"""Sums that remember what was worked out from them: a controller looks each second, and most sums are as they were.

Whatever is asked with another time, share or margin is another question; what is remembered is the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from rollout.core.sums import SumKey

Found = TypeVar("Found")


class KnownSums(dict["SumKey", "tuple[int, ...]"]):
    """All that the store has of a feature, as it was read once; not to be changed."""

    def __init__(self, sums: Mapping[SumKey, tuple[int, ...]]) -> None:
        super().__init__(sums)
        self._found: dict[Hashable, Any] = {}

    def once(self, question: Hashable, work_out: Callable[[], Found]) -> Found:
        """What `work_out` gives, which follows from these sums and `question` alone; called for each question once."""
        if question not in self._found:
            self._found[question] = work_out()
        found: Found = self._found[question]
        return found


def once(sums: Mapping[SumKey, Sequence[int]], question: Hashable, work_out: Callable[[], Found]) -> Found:
    """As `KnownSums.once`, of sums that may remember nothing."""
    return sums.once(question, work_out) if isinstance(sums, KnownSums) else work_out()


def same_or_new(before: KnownSums | None, read: Mapping[SumKey, tuple[int, ...]]) -> KnownSums:
    """What was read, with all that is remembered if it is as before."""
    return before if before is not None and before == read else KnownSums(read)
