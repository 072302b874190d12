"""Feedback on answers: which answer it belongs to, and what counts when it comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.outcome import Record
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


_Key = tuple[str, str]
"""Tenant and request id."""
Scores = tuple[tuple[str, str, str, float], ...]
"""Tenant, request id, kind, score."""


class UnknownAnswerError(Exception):
    """No such request id, or not this caller's."""


class LateFeedbackError(Exception):
    """The answer is older than `AGE_MAX_S`."""


class SilenceError(Exception):
    """The other workers didn't say in time whether they know it."""


class AnswerIndex:
    """Recent answers by request id: bounded in number and age.

    Two generations: when the young one is full, the old one is dropped whole. (Deleting the oldest entry of one large
    dict each time costs a scan over its gaps.)
    """

    def __init__(self, metrics: Metrics, *, answers_max: int = ANSWERS_MAX, age_max_s: float = AGE_MAX_S) -> None:
        self._metrics = metrics
        self._generation_max = max(1, answers_max // 2)
        self._age_max_s = age_max_s
        self._young: dict[_Key, Record] = {}
        self._old: dict[_Key, Record] = {}
        self._scores: dict[_Key, dict[str, float]] = {}
        self._tenants: set[str] = set()
        self.complete_since_s = 0.0
        """No answer that was settled later (Unix time) has been forgotten; 0 while none has."""
        self._received_until_s = 0.0

    def add(self, record: Record) -> None:
        """Remember an answered request, forgetting the oldest if there are too many."""
        if len(self._young) >= self._generation_max:
            if self._old:
                self.complete_since_s = max(next(iter(self._young.values())).at_s, self._received_until_s)
            for key in self._old:
                self._scores.pop(key, None)
            self._old, self._young = self._young, {}
        key = (record.tenant, record.request_id)
        self._young[key] = record
        self._tenants.add(record.tenant)
        if self._scores:
            # The caller used its request id again: this is another answer, not yet rated.
            self._scores.pop(key, None)

    def find(self, request_id: str, tenant: str) -> Record | None:
        """Give the answer of this caller with this request id, if it is known."""
        key = (tenant, request_id)
        return self._young.get(key) or self._old.get(key)

    def find_all(self, request_id: str) -> list[Record]:
        """Give the answers with this request id, at most one of each tenant."""
        found = (self.find(request_id, tenant) for tenant in self._tenants)
        return [record for record in found if record is not None]

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
        return answered

    def give_away(self, count: int) -> Iterator[tuple[tuple[Record, ...], Scores]]:
        """Hand over all answers with their scores, the young first, `count` at a time; nothing is left here."""
        while len(self):
            source = self._young or self._old
            keys = [key for key, _ in zip(source, range(count), strict=False)]
            records = tuple(source.pop(key) for key in keys)
            yield records, tuple((*key, *each) for key in keys for each in self._scores.pop(key, {}).items())

    def receive(self, records: tuple[Record, ...], scores: Scores) -> None:
        """Take over what another index gave away, as older than everything here; what comes last doesn't fit."""
        known: set[_Key] = set()
        for record in records:
            key = (record.tenant, record.request_id)
            if key in self._young or key in self._old:
                continue
            if len(self._old) >= self._generation_max:
                self.complete_since_s = max(self.complete_since_s, record.at_s)
                continue
            self._old[key] = record
            self._received_until_s = max(self._received_until_s, record.at_s)
            self._tenants.add(record.tenant)
            known.add(key)
        for tenant, request_id, kind, score in scores:
            if (tenant, request_id) in known:
                self._scores.setdefault((tenant, request_id), {})[kind] = score

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
