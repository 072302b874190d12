"""The way to a real store, for collectors: one that can be cut, and that loses answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rollout.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rollout.adapters.sqlite import SqliteStore
    from rollout.core.claims import Claim
    from rollout.core.sums import SumKey

_T = TypeVar("_T")


class Line:
    """`fault`: raised instead of asking; `lost_answers`: so many are carried out, and not heard of."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.fault: Exception | None = None
        self.lost_answers = 0
        self.claims: list[str] = []
        self.adds: list[str] = []

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        self.claims.append(flush_id)
        return await self._asked(lambda: self.store.claim_units(claims, flush_id))

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        self.adds.append(flush_id)
        return await self._asked(lambda: self.store.add_sums(deltas, flush_id))

    async def _asked(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        if self.fault is not None:
            raise self.fault
        answer = await ask()
        if self.lost_answers:
            self.lost_answers -= 1
            raise StoreUnavailable("the line was cut")
        return answer
