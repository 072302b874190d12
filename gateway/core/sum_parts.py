"""Splits what is to be added into flushes of the size that a store takes, each with an id of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.sums import VALUES_PER_FLUSH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rollout.core.sums import SumKey

Part = tuple[str, "Mapping[SumKey, Sequence[int]]"]


def in_parts(deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> Iterator[Part]:
    """(id, what it adds) of each flush, of as many values as a store takes; the same ones whenever it is asked."""
    part: dict[SumKey, Sequence[int]] = {}
    values, number = 0, 0
    for key, vector in deltas.items():
        if part and values + len(vector) > VALUES_PER_FLUSH_MAX:
            yield f"{flush_id}.{number}", part
            part, values, number = {}, 0, number + 1
        part[key] = vector
        values += len(vector)
    if part:
        yield f"{flush_id}.{number}", part
