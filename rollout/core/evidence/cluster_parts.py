"""What is added up of flags whose arms stick to users or tenants, and where in the store it is.

A *part* is all series of one age. Series of one metric differ in their margin alone: they look at the same requests and
share the sums of p(1 - p); those of another metric may not, for not every request has a place in it (no stream, outside
of the sample). A *cell* is a step in one window of the ramp; windows grow with the square root of the time, so harm
that begins late is looked for afresh, and cells stay few. Only groups that saw a request are written.

| name | vector |
| --- | --- |
| `{part}.{step}.{window}.{group}` | overlap, candidates by metric; U by series; outcomes by series with a floor |
| `{part}.{step}.{window}.all` | of each series: requests, and bad outcomes of candidate and baseline |
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from hashlib import blake2b
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.clusters import GROUPS, ClusterSums
from rollout.core.evidence.names import age_s_of
from rollout.core.evidence.plans import Series, series_of, step_of
from rollout.core.evidence.stored_rows import numbers_in, unreadable
from rollout.core.model import UnitKind
from rollout.core.sums import ELEMENTS_MAX, VALUES_PER_EPOCH_MAX, VALUES_PER_FLUSH_MAX, SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Progress

PREFIX = "clusters."
VALUES_MAX = 7 * VALUES_PER_EPOCH_MAX // 10
"""Of the cells of one plan in one attempt; the rest is for changed plans, steps entered anew, and other sums."""
WINDOW_S = 3_600.0
"""The first window; the k-th begins k**2 times this after the ramp, or later if there is no room for so many."""
WINDOWS_LAST_S = 30 * 86_400.0
_WINDOWS_MAX = 64
_SUMS_VERSION = 2
"""What a group adds: 1, of the left out what was predicted of them; 2, nothing to the candidate's own outcomes."""
_ALL = "all"
_SHARED = 2
_OF_ALL = 3


class Part(msgspec.Struct, frozen=True, dict=True):
    """All series of one age, in the order of their sums. `windows`: how many a ramp has, the last without an end."""

    name: str
    age_s: float
    series: tuple[Series, ...]
    windows: int

    @cached_property
    def metrics(self) -> frozenset[str]:
        """Of its series."""
        return frozenset(each.metric for each in self.series)

    @cached_property
    def seen_by(self) -> tuple[int, ...]:
        """For each series the first one that looks at the same requests."""
        looks = [(each.metric, each.limit_s) for each in self.series]
        return tuple(map(looks.index, looks))

    @cached_property
    def firsts(self) -> tuple[int, ...]:
        """The series that stand for those that look at the same requests."""
        return tuple(sorted(set(self.seen_by)))

    @cached_property
    def floors(self) -> tuple[int, ...]:
        """The series that need the outcomes of the candidate alone."""
        return tuple(index for index, each in enumerate(self.series) if each.plan.floors)

    @cached_property
    def width(self) -> int:
        """Elements of a group's vector."""
        return _SHARED * len(self.firsts) + len(self.series) + len(self.floors)

    @cached_property
    def values(self) -> int:
        """Elements of a cell that saw all groups."""
        return GROUPS * self.width + _OF_ALL * len(self.series)


class Cell(NamedTuple):
    """A step (see `plans.step_of`) in a window of the ramp; they sort by time."""

    step: int
    window: int


def is_clustered(flag: FeatureFlag) -> bool:
    """Whether its arms stick to users or tenants, so that requests of one are one draw."""
    return flag.bucket_by in {UnitKind.USER, UnitKind.TENANT}


def parts_of(flag: FeatureFlag) -> tuple[Part, ...]:
    """All that the flag's gates ask for, by age; InvalidArgument if it is more than the store has room for."""
    by_age: defaultdict[float, list[Series]] = defaultdict(list)
    for each in series_of(flag):
        by_age[age_s_of(flag, each.metric)].append(each)
    parts = [Part(_name(age_s, series), age_s, tuple(series), 1) for age_s, series in sorted(by_age.items())]
    windows = min(_WINDOWS_MAX, VALUES_MAX // max(1, sum(part.values for part in parts)) - _steps(flag))
    if windows < 1 or any(not _fits(part) for part in parts):
        hint = "fewer steps or fewer metrics and margins, or bucketBy conversation"
        raise InvalidArgument(f"flags by {flag.bucket_by} have no room for so many steps and gates", hint)
    return tuple(msgspec.structs.replace(part, windows=windows) for part in parts)


def part_of(flag: FeatureFlag, series: Series) -> Part:
    """The part that `series` (of this flag) belongs to."""
    return next(part for part in parts_of(flag) if series in part.series)


def cell_of(part: Part, progress: Progress, entered_s: float) -> Cell:
    """Where a request of this step is added that enters (arrival + age) at Unix time `entered_s`."""
    length_s = max(WINDOW_S, WINDOWS_LAST_S / part.windows**2)
    passed = int(max(0.0, entered_s - progress.ramp_began_s) / length_s)
    return Cell(step_of(progress), min(part.windows - 1, isqrt(passed)))


def vectors_of(
    part: Part, feature: str, progress: Progress, cell: Cell, sums: Sequence[ClusterSums]
) -> dict[SumKey, list[int]]:
    """The vectors of one batch of a cell; `sums` by series of the part."""
    head = f"{part.name}.{cell.step}.{cell.window}."
    columns = [column for index in part.firsts for column in (sums[index].overlap, sums[index].candidates)]
    columns += [each.contrast for each in sums]
    columns += [sums[index].outcome for index in part.floors]
    seen = np.flatnonzero(np.any([sums[index].overlap for index in part.firsts], axis=0)).tolist()
    found = {SumKey(feature, progress.attempt, f"{head}{group}"): [row[group] for row in columns] for group in seen}
    counts = [count for each in sums for count in (each.units, each.bad_candidates, each.bad_baselines)]
    return found | {SumKey(feature, progress.attempt, f"{head}{_ALL}"): counts}


def stored(
    part: Part, series: Series, feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]]
) -> dict[Cell, ClusterSums]:
    """What was added up in this attempt for this series of the part, by time; InvalidArgument if it isn't its."""
    rows: defaultdict[Cell, dict[str, Sequence[int]]] = defaultdict(dict)
    head = f"{part.name}."
    for key, vector in sums.items():
        if key.name.startswith(head) and (key.feature, key.epoch) == (feature, progress.attempt):
            when, _, group = key.name.removeprefix(head).rpartition(".")
            if group != _ALL and numbers_in(key.name, group, 1)[0] >= GROUPS:
                raise unreadable(key.name)
            rows[Cell(*numbers_in(key.name, when, 2))][group] = vector
    index = part.series.index(series)
    return {cell: _sums_of(part, index, rows[cell]) for cell in sorted(rows)}


def _sums_of(part: Part, index: int, rows: dict[str, Sequence[int]]) -> ClusterSums:
    counts = rows.pop(_ALL, ())
    if len(counts) != _OF_ALL * len(part.series) or any(len(row) != part.width for row in rows.values()):
        raise InvalidArgument("the store's sums are not of this plan", "drop them and begin another attempt")
    by_group = np.zeros((part.width, GROUPS), np.int64)
    for group, row in rows.items():
        by_group[:, int(group)] = row
    columns = [tuple(column) for column in by_group.tolist()]
    shared = _SHARED * part.firsts.index(part.seen_by[index])
    own = _SHARED * len(part.firsts)
    units, bad_candidates, bad_baselines = counts[_OF_ALL * index : _OF_ALL * (index + 1)]
    found = ClusterSums(
        columns[own + index], columns[shared], columns[shared + 1], bad_candidates, bad_baselines, units
    )
    if index not in part.floors:
        return found
    return msgspec.structs.replace(found, outcome=columns[own + len(part.series) + part.floors.index(index)])


def _fits(part: Part) -> bool:
    return part.values <= VALUES_PER_FLUSH_MAX and max(part.width, _OF_ALL * len(part.series)) <= ELEMENTS_MAX


def _steps(flag: FeatureFlag) -> int:
    """Cells that begin with a step, and not with a window."""
    return 0 if flag.ramp is None else len(flag.ramp.steps)


def _name(age_s: float, series: Sequence[Series]) -> str:
    """Another one for other series: sums that share p(1 - p) must have seen the same requests."""
    fixed = msgspec.json.encode((_SUMS_VERSION, GROUPS, f"{age_s:g}", [each.prefix for each in series]))
    return f"{PREFIX}{blake2b(fixed, digest_size=8).hexdigest()}"
