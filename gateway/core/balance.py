"""Which endpoint of an upstream gets the next request: the least busy one, or the one that knows the conversation."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import mmh3

if TYPE_CHECKING:
    from collections.abc import Sequence

LOAD_BOUND = 1.25
"""A conversation's endpoint may be this many times as busy as the mean; then the next one takes the request."""


def endpoint_seed(url: str) -> int:
    """What stands for an endpoint in rendezvous hashing: the same in every worker, whatever the order of the URLs."""
    return int(mmh3.hash(url.encode(), signed=False))


def choose(
    outstanding: Sequence[int],
    candidates: Sequence[int],
    *,
    turn: int,
    seeds: Sequence[int] = (),
    key: bytes | None = None,
) -> int:
    """Index of the endpoint for the next request, -1 without `candidates` (indexes of those that may be asked).

    `outstanding`: requests under way, by index. With a `key` (and `seeds`, by index) it is the first in the key's
    rendezvous order that is not over the load bound; without, the least busy one, `turn` rotating among equals.
    """
    if not candidates:
        return -1
    if len(candidates) == 1:
        return candidates[0]
    if key is None:
        return _least_outstanding(outstanding, candidates, turn)
    return _by_affinity(outstanding, candidates, seeds, key)


def _least_outstanding(outstanding: Sequence[int], candidates: Sequence[int], turn: int) -> int:
    first = turn % len(candidates)
    # Of equals `min` takes the first, so each turn has another one in front.
    return min((*candidates[first:], *candidates[:first]), key=outstanding.__getitem__)


def _by_affinity(outstanding: Sequence[int], candidates: Sequence[int], seeds: Sequence[int], key: bytes) -> int:
    scores = {index: mmh3.hash(key, seeds[index], signed=False) for index in candidates}
    best = max(candidates, key=scores.__getitem__)
    # Whoever is not busier than the mean is within the bound, so the search always ends with one.
    allowed = ceil(LOAD_BOUND * (sum(outstanding[index] for index in candidates) + 1) / len(candidates))
    if outstanding[best] < allowed:
        return best
    return max((index for index in candidates if outstanding[index] < allowed), key=scores.__getitem__)
