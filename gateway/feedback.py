"""Feedback on answers: which answer it belongs to, and what counts when it comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.core.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.core.outcome import Record
    from gateway.core.recent import Key
    from gateway.metrics import Metrics

ANSWERS_MAX = 100_000
AGE_MAX_S = 3_600.0
KINDS = ("rating", "accepted", "score")
_RATING_SPAN = 2.0


class Feedback(BaseModel):
    """Body of POST /v1/feedback; exactly one of rating, accepted, score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: Annotated[str, Field(min_length=1, max_length=128)]
    rating: Annotated[float | None, Field(ge=-1, le=1, strict=True)] = None
    accepted: Annotated[bool | None, Field(strict=True)] = None
    score: Annotated[float | None, Field(ge=0, le=1, strict=True)] = None
    edit_ratio: Annotated[float | None, Field(ge=0, le=1)] = None
    labels: Annotated[dict[str, Annotated[str, Field(max_length=200)]] | None, Field(max_length=16)] = None
    comment: Annotated[str | None, Field(max_length=4_000)] = None

    @model_validator(mode="after")
    def _one_kind(self) -> Feedback:
        if sum(getattr(self, kind) is not None for kind in KINDS) != 1:
            raise ValueError("give exactly one of rating (-1..1), accepted (true/false), score (0..1)")
        return self

    @property
    def kind(self) -> str:
        """Which of the three it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> float:
        """As a score in [0, 1], higher is better."""
        if self.rating is not None:
            return (self.rating + 1) / _RATING_SPAN
        if self.accepted is not None:
            return float(self.accepted)
        return float(self.score or 0.0)


class Rated(Protocol):
    """A feedback as far as counting it goes: of a caller, or of another worker."""

    @property
    def request_id(self) -> str:
        """Which answer it is about."""
        ...

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        ...

    @property
    def value(self) -> float:
        """As a score in [0, 1]."""
        ...


class Others(Protocol):
    """The other workers, who may have given the answer."""

    async def take(self, rated: Rated, tenant: str) -> str:
        """Have one of them count it; the feature.

        Raises `UnknownAnswerError`, `LateFeedbackError`, or `SilenceError` when they could not be asked.
        """
        ...


Scores = tuple[tuple[str, str, str, float], ...]
"""Tenant, request id, kind, score."""


class UnknownAnswerError(Exception):
    """No such request id, or not this caller's."""


class LateFeedbackError(Exception):
    """The answer is older than `AGE_MAX_S`."""


class SilenceError(Exception):
    """The other workers didn't say in time whether they know it."""


class AnswerIndex:
    """Recent answers by request id, bounded in number and age, and how they were rated."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        answers_max: int = ANSWERS_MAX,
        age_max_s: float = AGE_MAX_S,
        rated: Callable[[Record, str, float], None] = lambda *_: None,
    ) -> None:
        """`rated`: told each feedback that is taken, of what kind and how good; also what another index had taken."""
        self._metrics = metrics
        self._rated = rated
        self._age_max_s = age_max_s
        self._recent = Recent(answers_max)
        self._scores: dict[Key, dict[str, float]] = {}

    @property
    def complete_since_s(self) -> float:
        """No answer that was settled later (Unix time) has been forgotten; 0 while none has."""
        return self._recent.complete_since_s

    def add(self, record: Record) -> None:
        """Remember an answered request, forgetting the oldest if there are too many."""
        for key in self._recent.add(record):
            self._scores.pop(key, None)
        if self._scores:
            # The caller used its request id again: this is another answer, not yet rated.
            self._scores.pop((record.tenant, record.request_id), None)

    def find(self, request_id: str, tenant: str) -> Record | None:
        """Give the answer of this caller with this request id, if it is known."""
        return self._recent.get((tenant, request_id))

    def find_all(self, request_id: str) -> list[Record]:
        """Give the answers with this request id, at most one of each tenant."""
        return self._recent.find(request_id)

    def take(self, feedback: Rated, tenant: str, now_s: float) -> Record:
        """Count one feedback; the last one per (request, kind) wins. `now_s`: Unix time.

        Raises `UnknownAnswerError` or `LateFeedbackError`. Another tenant's request id counts as unknown.
        """
        answered = self.find(feedback.request_id, tenant)
        if answered is None:
            raise UnknownAnswerError
        key = (tenant, feedback.request_id)
        if now_s - answered.at_s > self._age_max_s:
            raise LateFeedbackError
        kind, value = feedback.kind, feedback.value
        labels = (answered.feature, answered.assigned, kind)
        scores = self._scores.setdefault(key, {})
        before = scores.get(kind)
        scores[kind] = value
        self._metrics.feedback.add(labels)
        self._metrics.quality_sum.add(labels, value - (before or 0.0))
        if before is None:
            self._metrics.quality_units.add(labels)
        self._rated(answered, kind, value)
        return answered

    def give_away(self, count: int) -> Iterator[tuple[tuple[Record, ...], Scores]]:
        """Hand over all answers with their scores, the young first, `count` at a time; nothing is left here."""
        for records in self._recent.give_away(count):
            keys = [(record.tenant, record.request_id) for record in records]
            yield records, tuple((*key, *each) for key in keys for each in self._scores.pop(key, {}).items())

    def receive(self, records: tuple[Record, ...], scores: Scores) -> None:
        """Take over what another index gave away, as older than everything here; what comes last doesn't fit."""
        known = {(record.tenant, record.request_id): record for record in records if self._recent.receive(record)}
        for tenant, request_id, kind, score in scores:
            record = known.get((tenant, request_id))
            if record is not None:
                self._scores.setdefault((tenant, request_id), {})[kind] = score
                self._rated(record, kind, score)

    def __len__(self) -> int:
        return len(self._recent)
