"""What requests of users come to, one outcome for each series of a part: as of units, see `unit_outcomes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.check_results import CheckResults
from gateway.core.checks.sampling import CheckSample
from gateway.core.cluster_requests import key_of
from gateway.core.held_units import Ratings
from gateway.core.unit_outcomes import ABSENT, BEYOND, Outcome, form_of, outcomes_of, thumbs_of
from gateway.core.units import unit_of
from gateway.core.yardsticks import Yardsticks
from rollout.core.evidence.names import FORM, LATENCY, THUMBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.core.outcome import Record
    from gateway.core.units import Unit
    from rollout.core.evidence.cluster_parts import Part


class RequestOutcomes:
    """One worker's: what was found and said of requests, and what their latencies are held against."""

    def __init__(self, sampled: CheckSample | None = None) -> None:
        """`sampled`: requests whose answers are checked."""
        self._sampled = sampled or CheckSample()
        self._yardsticks, self._checks, self._ratings = Yardsticks(), CheckResults(), Ratings()

    def add_check(self, answer: CheckedAnswer) -> None:
        """Take what free checks found."""
        self._checks.add(answer)

    @property
    def lost(self) -> int:
        """Requests whose ratings were forgotten because there were too many (counter)."""
        return self._ratings.lost

    def add_rating(self, record: Record, kind: str, value: float, now_s: float) -> None:
        """Take what a caller said of the answer to a request; `value`: in [0, 1], `now_s`: Unix time."""
        self._ratings.add(_name_of(record), record.unit_digest, key_of(record), kind, value, now_s=now_s)

    def forget_ratings(self, before_s: float) -> None:
        """Let go of those of requests that were rated first before then: nobody will ask for them."""
        self._ratings.forget(before_s)

    def of(self, record: Record, part: Part) -> tuple[Outcome, ...]:
        """The outcome of each series at the part's age. To be called once."""
        unit = unit_of(record, part.age_s)
        yardsticks_s = self._yardsticks.at(unit.feature, unit.arrived_s)
        outcomes = outcomes_of(unit, part.series, yardsticks_s, self._form(unit) if FORM in part.metrics else ABSENT)
        if THUMBS in part.metrics:
            thumbs = thumbs_of(self._ratings.take(_name_of(record), record.unit_digest))
            outcomes = tuple(
                thumbs if each.metric == THUMBS else outcome
                for each, outcome in zip(part.series, outcomes, strict=True)
            )
        return _alike(part, outcomes) if BEYOND in outcomes else outcomes

    def learn(self, now_s: float, due: Sequence[tuple[Record, Part]], current: Mapping[str, Sequence[Part]]) -> None:
        """See those that have come of age, after `of` was asked about all of them: they make yardsticks from now on.

        `current`: the parts of all flags that gather now, by feature.
        """
        self.see(due, current)
        self._yardsticks.learn(now_s, (), _wanted(current))

    def see(self, due: Sequence[tuple[Record, Part]], current: Mapping[str, Sequence[Part]]) -> None:
        """See some of those that have come of age, before `learn` is told of the last of them."""
        measured = {id(part) for part in {id(part): part for _, part in due}.values() if latencies_of([part])}
        units = [unit_of(record, part.age_s) for record, part in due if id(part) in measured]
        self._yardsticks.see(units, _wanted(current))

    def give_away(self, records: Iterable[Record]) -> tuple[tuple[int, str, str, bool], ...]:
        """Hand over what was checked of requests: digest, tenant, request id, whether there was a fault. Once."""
        found = ((each.unit_digest, *key_of(each)) for each in records)
        return tuple((*each, flawed) for each in found if (flawed := self._checks.pop(*each)) is not None)

    def receive(self, checks: Iterable[tuple[int, str, str, bool]]) -> None:
        """Take over what another worker gave away."""
        for digest, tenant, request_id, flawed in checks:
            self._checks.put(digest, tenant, request_id, flawed=flawed)

    def _form(self, unit: Unit) -> Outcome:
        sampled = self._sampled.takes(unit.request_id, unit.arrived_s)
        return form_of(sampled=sampled, flawed=self._checks.take(unit) if sampled else None)


def latencies_of(parts: Sequence[Part]) -> frozenset[str]:
    """The metrics for which a yardstick is needed."""
    series = (each for part in parts for each in part.series)
    return frozenset(each.metric for each in series if each.metric in LATENCY and not each.limit_s)


def _wanted(current: Mapping[str, Sequence[Part]]) -> dict[str, frozenset[str]]:
    return {feature: found for feature, parts in current.items() if (found := latencies_of(parts))}


def _name_of(record: Record) -> str:
    """What stands for a request where `Ratings` of units have their feature. Ids of two tenants may be the same."""
    return "\n".join((record.feature, *key_of(record)))


def _alike(part: Part, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Absent from one margin of a latency because of its age, absent from all: they share what they look at."""
    beyond = {part.seen_by[index] for index, outcome in enumerate(outcomes) if outcome == BEYOND}
    return tuple(BEYOND if first in beyond else outcome for first, outcome in zip(part.seen_by, outcomes, strict=True))
