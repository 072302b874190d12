"""What the store has of the evidence of a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollout.core.evidence.arms import arms_of
from rollout.core.evidence.cluster_parts import PREFIX
from rollout.core.ramp_shown import decode_shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollout.core.ramp_shown import Shown


class Gathered:
    """Reads it with `with_store`, past all gateways."""

    def __init__(self, with_store: Callable[[Callable[[Any], Any]], Any]) -> None:
        self._read = with_store

    def units(self, feature: str) -> int:
        """Conversations that are counted in this attempt, of both arms."""
        progress = self._read(lambda store: store.get(feature)).progress
        return sum(row[1] + row[2] for row in arms_of(feature, progress, self._sums(feature)).by_share)

    def requests(self, feature: str) -> int:
        """Requests of users that are counted."""
        found = ((key.name, vector) for key, vector in self._sums(feature).items())
        return sum(vector[0] for name, vector in found if name.startswith(PREFIX) and name.endswith(".all"))

    def shown(self, feature: str) -> Shown | None:
        """What the controller said last."""
        memory = self._read(lambda store: store.get_memory(feature))
        return None if memory is None else decode_shown(memory[1])

    def _sums(self, feature: str) -> dict[Any, tuple[int, ...]]:
        return self._read(lambda store: store.read_sums(feature))
