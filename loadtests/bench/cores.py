"""Which core does what."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cores(NamedTuple):
    """The subject's cores, the load generator's and the upstream's."""

    subject: tuple[int, ...]
    load: int
    upstream: int


def assign_cores(available: Sequence[int], workers: int) -> Cores | None:
    """Give the subject a core per worker, the others what is left; None where that is nothing.

    With one core too few, load and upstream share one. A single worker is measured even on a single core.
    """
    first, last = available[0], available[-1]
    if len(available) >= workers + 2:
        return Cores(tuple(available[1 : workers + 1]), last, first)
    if len(available) == workers + 1:
        return Cores(tuple(available[1:]), first, first)
    return Cores((first,), first, first) if workers == 1 else None
