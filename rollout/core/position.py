"""Where a store stands against what was seen of it before: it has gone on, or it has lost something."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollout.core.model import FeatureFlag

ACCEPTED_GAP = 1_000
"""How far a store that is accepted after a loss counts ahead: other replicas may have seen more of the old one."""


class Position(NamedTuple):
    """Identity of a store's data (a random number given once; 0: none yet), and its version, that only grows."""

    generation: int
    version: int


NOWHERE = Position(0, -1)
"""The position of who has seen nothing."""


class Standing(StrEnum):
    """How a position stands to one that was seen before."""

    FOLLOWS = "follows"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    WENT_BACK = "went back"


def compare(known: Position, found: Position) -> Standing:
    """Tell how `found` stands to `known`. Without a known generation only emptiness can be told for sure."""
    if found.version == 0 and known.version > 0:
        return Standing.EMPTIED
    if known.generation == 0:
        return Standing.FOLLOWS
    if found.generation != known.generation:
        return Standing.REPLACED
    return Standing.FOLLOWS if found.version >= known.version else Standing.WENT_BACK


def accepted(known: Position, found: Position) -> Position | None:
    """Where a store that lost data goes on once that is accepted; None when it needs no acceptance."""
    if compare(known, found) is Standing.FOLLOWS:
        return None
    generation = known.generation or found.generation
    return Position(generation, max(known.version, found.version) + ACCEPTED_GAP)


def safer(known: Mapping[str, FeatureFlag], found: Mapping[str, FeatureFlag]) -> dict[str, FeatureFlag]:
    """Flags to have in force while the store's are in doubt: as known, yet nobody more gets the candidate.

    A kill or a smaller share of either counts, so operators can still stop; what only `found` has is left out.
    """
    return {name: _safer(flag, found[name]) if name in found else flag for name, flag in known.items()}


def _safer(known: FeatureFlag, found: FeatureFlag) -> FeatureFlag:
    share = min(known.share_millipct, found.share_millipct)
    return replace(known, share_millipct=share, kill=known.kill if known.kill.on else found.kill)
