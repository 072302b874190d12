"""Metrics on their way from the workers to one page: cumulative series, gauges, and how both are summed.

Counts travel as cumulative values of the series that changed, so a lost message is healed by the next one. What a dead
worker had counted stays in the sums; its gauges go with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Key = tuple[str, tuple[str, ...]]
_Values = tuple[float, ...]


class Exemplar(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A traced request that stands for a bucket of a histogram. `bucket`: its index; `at_s`: Unix time."""

    bucket: int
    trace_id: str
    value: float
    at_s: float


class Series(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One series as counted so far by one worker: (sum,), or a histogram's bucket counts and then its total.

    `exemplars`: of a histogram, at most one per bucket; those that are new, not all.
    """

    family: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    exemplars: tuple[Exemplar, ...] = ()


class Reading(msgspec.Struct, frozen=True, array_like=True):
    """One gauge family as read by one process; `merge` says what several processes' readings mean together."""

    name: str
    text: str
    labels: tuple[str, ...]
    series: tuple[tuple[tuple[str, ...], float], ...]
    merge: Literal["sum", "max", "min"] = "sum"


class Ledger:
    """What all workers have counted, the dead ones included."""

    def __init__(self) -> None:
        self._live: dict[int, dict[_Key, _Values]] = {}
        self._buried: dict[_Key, _Values] = {}
        self._exemplars: dict[_Key, dict[int, Exemplar]] = {}

    def take(self, worker: int, changed: Iterable[Series]) -> None:
        """Note the newest values of a live worker's series."""
        live = self._live.setdefault(worker, {})
        for series in changed:
            live[series.family, series.labels] = series.values
            if series.exemplars:
                kept = self._exemplars.setdefault((series.family, series.labels), {})
                keep_newest(kept, series.exemplars)

    def bury(self, worker: int) -> None:
        """Keep what a dead worker had counted; doing it twice is harmless."""
        for key, values in self._live.pop(worker, {}).items():
            _add(self._buried, key, values)

    def totals(self) -> Iterator[Series]:
        """Every series, summed over all workers there ever were."""
        sums = dict(self._buried)
        for live in self._live.values():
            for key, values in live.items():
                _add(sums, key, values)
        exemplars = self._exemplars
        return (Series(*key, values, tuple(exemplars.get(key, {}).values())) for key, values in sums.items())

    def parts_of(self, family: str) -> Iterator[tuple[tuple[str, ...], _Values]]:
        """(labels, values) of one family, each worker's apart: cheaper than `totals` for who adds up a few."""
        for counted in (self._buried, *self._live.values()):
            for (name, labels), values in counted.items():
                if name == family:
                    yield labels, values


def _add(sums: dict[_Key, _Values], key: _Key, values: _Values) -> None:
    before = sums.get(key)
    sums[key] = values if before is None else tuple(a + b for a, b in zip(before, values, strict=True))


def keep_newest(kept: dict[int, Exemplar], more: Iterable[Exemplar]) -> None:
    """Keep the newest exemplar of each bucket."""
    for each in more:
        before = kept.get(each.bucket)
        if before is None or before.at_s <= each.at_s:
            kept[each.bucket] = each


_MERGE: dict[str, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


def merge_readings(of_workers: Iterable[Iterable[Reading]]) -> list[Reading]:
    """One reading per gauge family; the order is that of first appearance."""
    families: dict[str, Reading] = {}
    values: dict[str, dict[tuple[str, ...], list[float]]] = {}
    for readings in of_workers:
        for reading in readings:
            families.setdefault(reading.name, reading)
            of_family = values.setdefault(reading.name, {})
            for labels, value in reading.series:
                of_family.setdefault(labels, []).append(value)
    return [
        msgspec.structs.replace(
            family,
            series=tuple((labels, float(_MERGE[family.merge](each))) for labels, each in values[name].items()),
        )
        for name, family in families.items()
    ]
