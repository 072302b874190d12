"""From judged pairs to vectors of evidence: where each belongs, and under which claim its unit counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.claims import Claim, draw_of
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.coverage import ShadowCalls, shadow_key
from rollout.core.evidence.ledger import MetricPlan
from rollout.core.evidence.names import gathers_pairs, has_begun
from rollout.core.evidence.pairs import OVER, VERSIONS_MAX, Replies, epoch_of, gathered, pairs_key, plan_of, replies_key
from rollout.core.evidence.plans import vector_of
from rollout.core.evidence.silence import Watch, Watched, watched_key
from rollout.core.model import EMPTY_SNAPSHOT, Arm, UnitKind
from rollout.core.ramp_model import Progress
from rollout.core.unit_digest import digester

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.judging.score import Lost, Scored, Spared
    from rollout.core.model import FeatureFlag, Snapshot
    from rollout.core.sums import SumKey

_REVISIONS_KEPT = 64
"""Of each feature: pairs are scored long after their revision."""


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where pairs of a revision belong; `plan`: None where its gates can't be judged, and say so."""

    feature: str
    hash_version: int
    salt: str
    progress: Progress
    plan: MetricPlan | None


class Entry(NamedTuple):
    """A pair on its way. `win`: None for one that has none; `asked`: whether there was a question at all.

    `seen_s` (Unix): when both answers were there, of one that somebody has looked at.
    """

    place: Place
    version: str
    epoch: int
    win: float | None
    asked: bool
    seen_s: float | None = None


class PairBooks:
    """One worker's. Of features that are no more, or whose ramp is over, nothing is kept.

    `unplaced` (counter): pairs of revisions that were never seen here, or are forgotten. `over` (counter): those of
    versions of a judge that came after the `VERSIONS_MAX`th of the attempt: they are told to the gate, and not counted.
    """

    def __init__(self) -> None:
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, Place | None]] = {}
        self._versions: dict[str, tuple[int, set[str]]] = {}
        self.unplaced = self.over = 0

    def learn(self, snapshot: Snapshot) -> None:
        """Note where pairs of each revision belong."""
        if snapshot is self._seen:
            return
        self._seen = snapshot
        for gone in self._places.keys() - snapshot.features.keys():
            del self._places[gone]
            self._versions.pop(gone, None)
        for name, feature in snapshot.features.items():
            if not has_begun(feature.flag):
                self._places[name] = {}
                self._versions.pop(name, None)
            known = self._places.setdefault(name, {})
            known[feature.flag.revision] = _place_of(feature.flag) if gathers_pairs(feature.flag) else None
            while len(known) > _REVISIONS_KEPT:
                del known[next(iter(known))]

    def score(self, scored: Scored, *, asked: bool) -> tuple[Entry, Claim | None] | None:
        """What is to be counted of a score, and claimed for it; None if its flag asks for none."""
        place = self._place(scored.feature, scored.revision)
        if place is None:
            return None
        if not self._is_known(place, scored.judge_version):
            return Entry(place, OVER, 0, None, asked=True, seen_s=scored.paired_at_s), None
        epoch = epoch_of(place.progress, scored.paired_at_s)
        claim = Claim(place.feature, _draw(place, scored.judge_version), _digest(place, scored))
        return Entry(place, scored.judge_version, epoch, scored.w, asked, scored.paired_at_s), claim

    def lose(self, lost: Lost) -> Entry | None:
        """What is to be counted of a pair that its judge lost; None likewise."""
        place = self._place(lost.feature, lost.revision)
        if place is None:
            return None
        version = lost.judge_version if self._is_known(place, lost.judge_version) else OVER
        return Entry(place, version, 0, None, asked=True)

    def spare(self, spared: Spared) -> Entry | None:
        """What is to be counted of a pair that gets no score by rule; None likewise."""
        place = self._place(spared.feature, spared.revision)
        return None if place is None else Entry(place, "", 0, None, asked=False, seen_s=spared.paired_at_s)

    def call(
        self, feature: str, revision: int, arm: str, *, answered: bool, at_s: float
    ) -> tuple[tuple[SumKey, ShadowCalls | Watched], ...]:
        """Where to add what for a shadow call to `arm` that ended at this Unix time; nothing if nobody wants pairs."""
        place = self._place(feature, revision)
        if place is None:
            return ()
        if arm == Arm.CANDIDATE:
            calls = ShadowCalls(candidate_answered=int(answered), candidate_failed=int(not answered))
        else:
            calls = ShadowCalls(baseline_answered=int(answered), baseline_failed=int(not answered))
        watched = watched_key(feature, place.progress, at_s, Watch.PAIRS)
        return (shadow_key(feature, place.progress), calls), (watched, Watched(requests=1))

    def _is_known(self, place: Place, version: str) -> bool:
        """Whether a version is one of the first that were seen here in the attempt; "" is of a judge unknown yet."""
        attempt, versions = self._versions.get(place.feature, (0, set()))
        if attempt < place.progress.attempt:
            attempt, versions = self._versions[place.feature] = (place.progress.attempt, set())
        if not version or version in versions or attempt > place.progress.attempt:
            return True
        if len(versions) >= VERSIONS_MAX:
            self.over += 1
            return False
        versions.add(version)
        return True

    def _place(self, feature: str, revision: int) -> Place | None:
        known = self._places.get(feature, {})
        if revision not in known and set(known.values()) != {None}:  # of a ramp that is over nobody asks
            self.unplaced += 1
        return known.get(revision)


def summed(entries: Iterable[tuple[Entry, bool]]) -> dict[SumKey, list[int]]:
    """What pairs add to each vector: their wins if their unit is new, and that their judge was asked in any case."""
    wins: dict[SumKey, tuple[MetricPlan, list[float]]] = {}
    deltas: dict[SumKey, list[int]] = {}
    for entry, new in entries:
        place = entry.place
        if entry.seen_s is not None:
            seen = watched_key(place.feature, place.progress, entry.seen_s, Watch.PAIRS)
            deltas.setdefault(seen, [*Watched()])[1] += 1
        if entry.asked:
            counts = deltas.setdefault(replies_key(place.feature, place.progress, entry.version), [*Replies()])
            counts[entry.win is None] += 1
        if new and entry.win is not None and place.plan is not None:
            key = pairs_key(place.feature, place.progress, place.plan, entry.version, entry.epoch)
            wins.setdefault(key, (place.plan, []))[1].append(entry.win)
    return deltas | {key: vector_of(gathered(plan, np.array(values))) for key, (plan, values) in wins.items()}


def _place_of(flag: FeatureFlag) -> Place:
    try:
        plan = plan_of(flag)
    except InvalidArgument:  # its gates say so
        plan = None
    return Place(flag.feature, flag.hash_version, flag.split_salt, flag.progress, plan)


def _draw(place: Place, version: str) -> str:
    """Of the units that a version of a judge may score once; no coin is drawn here, so it is nobody else's."""
    return draw_of(place.hash_version, f"{place.salt}\0judge\0{version}")


def _digest(place: Place, scored: Scored) -> int:
    """What was randomised; a pair without it stands for itself."""
    kind, unit = UnitKind(scored.unit_kind or UnitKind.REQUEST), scored.unit
    return digester(place.salt)(kind, unit) if unit else digester(place.salt)(UnitKind.REQUEST, scored.request_id)
