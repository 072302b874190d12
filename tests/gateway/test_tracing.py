"""What a collector receives, over a real socket and decoded by OpenTelemetry's own protocol definitions."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from gateway.core.outcome import Outcome
from gateway.core.trace import Trace
from gateway.tracing import QUEUE_MAX, SpanSink, span_of
from tests.gateway.records import SETTLED

TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "b7ad6b7169203331")
RECORD = replace(
    SETTLED,
    request_id="req_1",
    at_s=1_000.5,
    reason="split",
    revision=3,
    stream=True,
    ttft_s=0.25,
    prompt_tokens=7,
    completion_tokens=9,
    trace=TRACE,
)


@pytest.fixture
def collector():
    """(URL, requests received)."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip  # noqa: PLC0415

                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(400 if self.path == "/refused" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_the_span_of_a_traced_request(collector) -> None:
    url, received = collector
    sink = SpanSink(url, version="1.2.3")
    sink.take([RECORD, msgspec.structs.replace(RECORD, trace=None)])
    sink.close()
    (request,) = received
    (resource_spans,) = request.resource_spans
    resource = {pair.key: pair.value.string_value for pair in resource_spans.resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("glidepath", "1.2.3")
    (span,) = resource_spans.scope_spans[0].spans
    assert (span.trace_id.hex(), span.span_id.hex()) == (TRACE.trace_id, TRACE.span_id)
    assert span.parent_span_id.hex() == TRACE.parent_id
    assert (span.name, span.kind) == ("chat copilot/draft", span.SPAN_KIND_SERVER)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1_000_000_000_000, 1_000_500_000_000)
    attributes = {pair.key: pair.value for pair in span.attributes}
    assert attributes["gen_ai.usage.output_tokens"].int_value == 9
    assert attributes["glidepath.assigned"].string_value == "candidate"
    assert attributes["glidepath.stream"].bool_value
    assert "error.type" not in attributes
    assert [event.name for event in span.events] == ["glidepath.sent", "gen_ai.first_token"]
    assert span.status.code == span.status.STATUS_CODE_UNSET


@pytest.mark.parametrize(
    ("outcome", "is_error"),
    [
        (Outcome.OK, False),
        (Outcome.CALLER_ERROR, False),
        (Outcome.CANCELLED, False),
        (Outcome.REFUSED, False),
        (Outcome.RATE_LIMITED, True),
        (Outcome.TRUNCATED, True),
        (Outcome.UPSTREAM_ERROR, True),
    ],
)
def test_only_a_failure_of_the_service_is_an_error(*, outcome: Outcome, is_error: bool) -> None:
    record = msgspec.structs.replace(RECORD, outcome=outcome, cause="reset", sent_s=None, ttft_s=None)
    span = span_of(record, Resource.create())
    assert (not span.status.is_ok) is is_error
    assert not span.events


def test_a_root_has_no_parent_and_a_bypass_no_feature() -> None:
    root = msgspec.structs.replace(RECORD, trace=Trace(TRACE.trace_id, TRACE.span_id), feature="", reason="bypass")
    span = span_of(root, Resource.create())
    assert span.parent is None
    assert span.name == "chat bypass"


def test_an_untraced_record_has_no_span() -> None:
    with pytest.raises(ValueError, match="not traced"):
        span_of(msgspec.structs.replace(RECORD, trace=None), Resource.create())


def test_spans_that_the_collector_refuses_are_counted(collector, monkeypatch) -> None:
    url, _ = collector
    sink = SpanSink(url.replace("/v1/traces", "/refused"), version="1")
    sink.take([RECORD] * 3)
    sink.close()
    assert sink.dropped == 3


def test_spans_that_the_collector_is_too_slow_for_are_counted(monkeypatch) -> None:
    entered, leave = threading.Event(), threading.Event()

    def export(self, spans) -> SpanExportResult:
        entered.set()
        leave.wait()
        return SpanExportResult.SUCCESS

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    sink = SpanSink("http://127.0.0.1:9/v1/traces", version="1")
    sink.take([RECORD] * (QUEUE_MAX + 5))
    entered.wait()
    assert sink.dropped == 5
    leave.set()
    sink.close()
    assert sink.dropped == 5
