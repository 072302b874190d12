"""Drains Records off the request path: metrics, and the index that feedback is joined through."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from gateway.core.routing import MODEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.outcome import Record
    from gateway.feedback import AnswerIndex
    from gateway.metrics import Metrics

_log = logging.getLogger(__name__)
DRAIN_EVERY_S = 0.1
BATCH = 64
"""Records counted before other work gets its turn: about a quarter of a millisecond."""
TOKENS_FOR_TPOT = 2


class Sink(Protocol):
    """Whoever wants all Records besides the metrics: access log, traces."""

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch; called in the event loop, so it must not wait."""
        ...


class Recorder:
    """Holds settled Records until the drain task has counted them."""

    def __init__(
        self,
        metrics: Metrics,
        answers: AnswerIndex,
        sinks: Sequence[Sink] = (),
        others: Callable[[Record], None] = lambda _: None,
    ) -> None:
        """`others`: takes every Record that is not for `answers`."""
        self._metrics = metrics
        self._sinks = sinks
        self._answers = answers
        self._others = others
        self._pending: list[Record] = []
        self._series: dict[tuple[str, ...], _AttemptedSeries] = {}
        self.record = self._pending.append
        """Takes one Record; called on the request path, so it only appends."""

    async def run(self, counted: Callable[[], None] = lambda: None) -> None:
        """Drain for ever, calling `counted` after each turn; what is pending when cancelled is counted."""
        try:
            while True:
                await asyncio.sleep(DRAIN_EVERY_S)
                await self.settle()
                counted()
        finally:
            self.drain()

    async def settle(self) -> None:
        """Count all that is pending, other work getting its turn in between."""
        while self._pending:
            self._drain(BATCH)
            await asyncio.sleep(0)

    def drain(self) -> None:
        """Count all that is pending, at one go."""
        while self._pending:
            self._drain(BATCH)

    def _drain(self, count: int) -> None:
        batch = self._pending[:count]
        del self._pending[:count]
        for record in batch:
            try:
                self._count(record)
            except Exception:  # noqa: BLE001  a record that can't be counted must not cost the others, or the process
                _log.exception("a record could not be counted")
        for sink in self._sinks:
            try:
                sink.take(batch)
            except Exception:  # noqa: BLE001  likewise
                _log.exception("records could not be handed on")

    def _count(self, record: Record) -> None:
        metrics, feature = self._metrics, record.feature
        metrics.requests.add((feature, record.assigned, record.served, record.reason, record.outcome))
        if record.unit_kind:
            metrics.units.add((feature, record.unit_kind))
        if record.client_retries:
            metrics.client_retries.add((feature,))
        if not record.attempts:
            metrics.refusals.add((feature, record.cause))
            self._others(record)
            return
        if record.attempts > 1:
            again = metrics.retries if record.served == record.assigned else metrics.failovers
            again.add((feature, record.failed_cause))
        key = (record.operation, feature or record.reason, record.upstream, record.served, record.cause)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _AttemptedSeries(metrics, record)
        series.count(record)
        if feature:
            self._answers.add(record)
        else:
            self._others(record)


class _AttemptedSeries:
    """The histogram cells of requests that reached an upstream, for one combination of labels."""

    __slots__ = ("_duration", "_input", "_output", "_overhead", "_tpot", "_ttft")

    def __init__(self, metrics: Metrics, like: Record) -> None:
        model = MODEL_PREFIX + like.feature if like.feature else like.reason
        labels = (like.operation, model, like.upstream, like.served)
        self._duration = metrics.duration.cell(*labels, like.cause)
        self._overhead = metrics.overhead.cell(*labels)
        self._ttft = metrics.ttft.cell(*labels)
        self._tpot = metrics.tpot.cell(*labels)
        self._input = metrics.tokens.cell(*labels, "input")
        self._output = metrics.tokens.cell(*labels, "output")

    def count(self, record: Record) -> None:
        """Add one Record."""
        # A fallback's arm answers for its own attempt only, not for the wait for the one that failed.
        since_s = record.sent_s or 0.0 if record.attempts > 1 else 0.0
        duration_s, trace = record.duration_s - since_s, record.trace
        self._duration.observe(duration_s)
        if trace is not None:
            self._duration.mark(duration_s, trace.trace_id, record.at_s)
        if record.sent_s is not None and record.attempts == 1:
            self._overhead.observe(record.sent_s)
        if record.prompt_tokens is not None:
            self._input.observe(record.prompt_tokens)
        completion, ttft_s = record.completion_tokens, record.ttft_s
        if completion is not None:
            self._output.observe(completion)
        if ttft_s is not None:
            self._ttft.observe(ttft_s - since_s)
            if trace is not None:
                self._ttft.mark(ttft_s - since_s, trace.trace_id, record.at_s)
            if completion is not None and completion >= TOKENS_FOR_TPOT:
                self._tpot.observe((record.duration_s - ttft_s) / (completion - 1))
