"""How many examples a property takes: of a whole run, or as the profile in force shortens it."""

from __future__ import annotations

from hypothesis import settings


def portion() -> float:
    """How much of a whole run this is."""
    return min(1.0, settings().max_examples / 100)


def some(whole: int) -> int:
    return max(1, round(whole * portion()))


def fewer(whole: int) -> settings:
    """For a property whose examples are dear and that a few of them would falsify: less than the usual 100."""
    return settings(max_examples=some(whole))
