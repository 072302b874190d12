"""Spans of settled requests for an OpenTelemetry collector (extra `otel`); made from Records, off the request path.

Attributes follow OpenTelemetry's GenAI conventions; `glidepath.*` is what no convention covers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from gateway.core.outcome import Outcome
from gateway.core.routing import MODEL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.core.outcome import Record

_NS = 1_000_000_000
QUEUE_MAX = 2_048
_EXPORT_MAX_S = 3.0  # an ending worker waits so long for a dead collector, per batch
_SCOPE = InstrumentationScope("glidepath.gateway")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
# The caller's own doing is no error of the server's span.
_FINE = frozenset({Outcome.OK, Outcome.CALLER_ERROR, Outcome.CANCELLED, Outcome.REFUSED})


class SpanSink:
    """Takes batches of Records and exports those that are traced. `endpoint`: an OTLP/HTTP traces URL."""

    def __init__(self, endpoint: str, *, version: str) -> None:
        self._resource = Resource.create({"service.name": "glidepath", "service.version": version})
        self._exporter = _Counting(OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_MAX_S))
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=QUEUE_MAX)
        self._taken = self._refused = 0

    @property
    def dropped(self) -> int:
        """Spans lost because the collector didn't take them, or not in time."""
        return self._refused + self._exporter.failed

    def take(self, records: Iterable[Record]) -> None:
        """Hand over a batch; the processor's thread sends it, and drops what it cannot send."""
        for record in records:
            if record.trace is None:
                continue
            if self._taken - self._exporter.ended >= QUEUE_MAX:  # the processor would drop another one, untold
                self._refused += 1
                continue
            self._taken += 1
            self._processor.on_end(span_of(record, self._resource))

    def close(self) -> None:
        """Send what is left."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Counting(SpanExporter):
    """Counts what becomes of the spans given to `inner`; called by the processor's thread only."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.ended = self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As `SpanExporter`."""
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            self.ended += len(spans)
            if result is not SpanExportResult.SUCCESS:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """As `SpanExporter`."""
        self._inner.shutdown()


def span_of(record: Record, resource: Resource) -> ReadableSpan:
    """A traced Record as a finished server span."""
    trace = record.trace
    if trace is None:
        raise ValueError("this request is not traced")
    end_ns = int(record.at_s * _NS)
    start_ns = end_ns - int(record.duration_s * _NS)
    trace_id = int(trace.trace_id, 16)
    parent = _context(trace_id, trace.parent_id) if trace.parent_id else None
    return ReadableSpan(
        name=f"{record.operation} {_model(record)}".rstrip(),
        context=_context(trace_id, trace.span_id),
        parent=parent,
        resource=resource,
        attributes={key: value for key, value in _attributes(record) if value not in ("", None)},
        events=list(_events(record, start_ns)),
        kind=SpanKind.SERVER,
        instrumentation_scope=_SCOPE,
        status=Status(StatusCode.UNSET if record.outcome in _FINE else StatusCode.ERROR),
        start_time=start_ns,
        end_time=end_ns,
    )


def _context(trace_id: int, span_id: str) -> SpanContext:
    return SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)


def _model(record: Record) -> str:
    return MODEL_PREFIX + record.feature if record.feature else record.reason


def _events(record: Record, start_ns: int) -> Iterator[Event]:
    if record.sent_s is not None:
        yield Event("glidepath.sent", timestamp=start_ns + int(record.sent_s * _NS))
    if record.ttft_s is not None:
        yield Event("gen_ai.first_token", timestamp=start_ns + int(record.ttft_s * _NS))


def _attributes(record: Record) -> Iterator[tuple[str, str | int | bool | None]]:
    yield "gen_ai.operation.name", record.operation
    yield "gen_ai.request.model", _model(record)
    yield "gen_ai.provider.name", record.upstream
    yield "gen_ai.usage.input_tokens", record.prompt_tokens
    yield "gen_ai.usage.output_tokens", record.completion_tokens
    yield "http.response.status_code", record.status
    yield "error.type", record.cause
    yield "glidepath.request_id", record.request_id
    yield "glidepath.feature", record.feature
    yield "glidepath.assigned", record.assigned
    yield "glidepath.arm", record.served
    yield "glidepath.reason", record.reason
    yield "glidepath.flag_version", record.revision
    yield "glidepath.hash_version", record.hash_version or None
    yield "glidepath.bucket", record.bucket if record.unit_kind else None
    yield "glidepath.outcome", record.outcome
    yield "glidepath.attempts", record.attempts
    yield "glidepath.failed_cause", record.failed_cause
    yield "glidepath.tenant", record.tenant
    yield "glidepath.stream", record.stream
