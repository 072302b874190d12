"""What free checks found of recent answers, until the units that those belong to come of age."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.core.units import Unit

RESULTS_MAX = 16_384


class CheckResults:
    """One worker's; beyond `most` the oldest are forgotten, of both arms alike.

    Callers choose request ids: those of two tenants may be the same.
    """

    def __init__(self, most: int = RESULTS_MAX) -> None:
        self._most = most
        self._flawed: dict[tuple[int, str, str], bool] = {}

    def __len__(self) -> int:
        return len(self._flawed)

    def add(self, answer: CheckedAnswer) -> None:
        """Keep what was found if it is of a unit."""
        if answer.unit_digest:
            self.put(answer.unit_digest, answer.tenant, answer.request_id, flawed=answer.checks.flawed)

    def put(self, digest: int, tenant: str, request_id: str, *, flawed: bool) -> None:
        """Keep what was found of a unit's request."""
        if len(self._flawed) >= self._most:
            del self._flawed[next(iter(self._flawed))]
        self._flawed[digest, tenant, request_id] = flawed

    def take(self, unit: Unit) -> bool | None:
        """Whether a fault was found in the answer to a unit's first request; None if it was not checked. Once."""
        return self.pop(unit.digest, unit.tenant, unit.request_id)

    def pop(self, digest: int, tenant: str, request_id: str) -> bool | None:
        """The same, of any request."""
        return self._flawed.pop((digest, tenant, request_id), None)
