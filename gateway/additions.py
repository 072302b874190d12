"""What one batch adds to the sums in the store, so that each part counts once, however often it is sent.

A claim, and then each addition, goes again under its id until the store has answered; what it has answered does not.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.core.sum_parts import Part
    from rollout.core.claims import Claim
    from rollout.core.sums import SumKey


class SumStore(Protocol):
    """What is needed of a store."""

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """As `EvidenceSums.add_sums`."""
        ...


class UnitStore(SumStore, Protocol):
    """What is needed of it where each unit counts once."""

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """As `UnitClaims.claim_units`."""
        ...


class Made(NamedTuple):
    """What is to be added, each part with its id, and how many observations it stands for."""

    parts: Iterable[Part]
    observations: int


class Additions:
    """Sums that are added: a `flushes.Batch`."""

    def __init__(self, store: SumStore, observations: int, made: Callable[[str], Iterable[Part]]) -> None:
        """`made`: called once, with an id that no other batch has."""
        self._store, self._made, self._id = store, made, token_hex(16)
        self._parts: list[Part] | None = None
        self.observations = observations

    async def send(self) -> None:
        """Batch."""
        if self._parts is None:
            self._parts = list(self._made(self._id))
        await _add(self._store, self._parts)


class ClaimedAdditions:
    """What is claimed first, and then added as far as it is new: a `flushes.Batch`."""

    def __init__(
        self,
        store: UnitStore,
        claims: Sequence[Claim],
        observations: int,
        made: Callable[[str, Sequence[bool]], Made],
    ) -> None:
        """`made`: called once, with an id that no other batch has, and whether each claim is new."""
        self._store, self._claims, self._made, self._id = store, claims, made, token_hex(16)
        self._parts: list[Part] | None = None
        self.observations = observations

    async def send(self) -> None:
        """Batch."""
        if self._parts is None:
            new = await self._store.claim_units(self._claims, self._id) if self._claims else ()
            parts, self.observations = self._made(self._id, new)
            self._parts = list(parts)
        await _add(self._store, self._parts)


async def _add(store: SumStore, parts: list[Part]) -> None:
    """Those that are answered are taken away."""
    while parts:
        flush_id, part = parts[0]
        await store.add_sums(part, flush_id)
        del parts[0]
