"""Drains Records off the request path: metrics, and the index that feedback is joined through."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway.core.answer import read_usage
from gateway.core.routing import MODEL_PREFIX

if TYPE_CHECKING:
    from gateway.core.outcome import Record
    from gateway.feedback import AnswerIndex
    from gateway.metrics import Metrics

DRAIN_EVERY_S = 0.1
BATCH = 128
"""Records handled before other work gets its turn: about a third of a millisecond."""
TOKENS_FOR_TPOT = 2


class Recorder:
    """Holds settled Records until the drain task has counted them."""

    def __init__(self, metrics: Metrics, answers: AnswerIndex) -> None:
        self._metrics = metrics
        self._answers = answers
        self._pending: list[Record] = []

    def record(self, record: Record) -> None:
        """Take one Record; called on the request path, so it only appends."""
        self._pending.append(record)

    async def run(self) -> None:
        """Drain for ever; what is pending when cancelled is counted."""
        try:
            while True:
                await asyncio.sleep(DRAIN_EVERY_S)
                while self._pending:
                    self._drain(BATCH)
                    await asyncio.sleep(0)
        finally:
            self.drain()

    def drain(self) -> None:
        """Count all that is pending, now."""
        while self._pending:
            self._drain(BATCH)

    def _drain(self, count: int) -> None:
        batch, self._pending = self._pending[:count], self._pending[count:]
        for record in batch:
            # One record that can't be counted must not lose the others.
            with contextlib.suppress(ValueError, TypeError):
                count_record(self._metrics, record)
            if record.feature and record.attempts:
                self._answers.add(record)


def count_record(metrics: Metrics, record: Record) -> None:
    """Add one Record to the series."""
    metrics.requests.add((record.feature, record.assigned, record.served, record.reason, record.outcome))
    if record.unit_kind:
        metrics.units.add((record.feature, record.unit_kind))
    if record.attempts > 1:
        metrics.failovers.add((record.feature,))
    if record.client_retries:
        metrics.client_retries.add((record.feature,))
    if not record.attempts:
        return
    model = MODEL_PREFIX + record.feature if record.feature else record.reason
    labels = (record.operation, model, record.upstream, record.served)
    metrics.duration.observe((*labels, record.cause), record.duration_s)
    if record.sent_s is not None and record.attempts == 1:
        metrics.overhead.observe((record.operation,), record.sent_s)
    if record.ttft_s is not None:
        metrics.ttft.observe(labels, record.ttft_s)
    _count_tokens(metrics, record, labels)


def _count_tokens(metrics: Metrics, record: Record, labels: tuple[str, ...]) -> None:
    prompt, completion = record.prompt_tokens, record.completion_tokens
    if record.body is not None:
        usage = read_usage(record.body)
        if usage is not None:
            prompt, completion = usage.prompt_tokens, usage.completion_tokens
    if prompt is not None:
        metrics.tokens.observe((*labels, "input"), prompt)
    if completion is not None:
        metrics.tokens.observe((*labels, "output"), completion)
        if record.ttft_s is not None and completion >= TOKENS_FOR_TPOT:
            metrics.tpot.observe(labels, (record.duration_s - record.ttft_s) / (completion - 1))
