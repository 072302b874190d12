"""Which endpoint of an upstream gets the next request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def least_outstanding(outstanding: Sequence[int]) -> int:
    """Index of the endpoint with the fewest requests under way; the first of equals."""
    return min(range(len(outstanding)), key=outstanding.__getitem__)
