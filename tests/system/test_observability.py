"""One gateway of two workers, seen from outside: what a request leaves in the API, the log, the traces, the metrics."""

import gzip
import json
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from rollout.core.bucketing import bucket

pytestmark = pytest.mark.system

KEY = "gp-observed-test"
DECIDED = {"feature", "revision", "hash_version", "bucket", "assigned", "served", "reason"}
DEADLINE_S = 60.0
TLS = ssl.create_default_context()  # one for all: each client would make its own, which takes longer than a request
MESSAGES = [{"role": "user", "content": "say something"}]
CONFIG = """
[server]
port = 0
workers = 2
[admin]
port = 0
[observability]
access_log = "access.jsonl"
otlp_endpoint = "{collector}"
trace_ratio = 0
[upstreams.inhouse]
kind = "vllm"
base_urls = ["http://127.0.0.1:9/v1"]
model = "candidate-sim"
[upstreams.partner]
kind = "openai"
base_urls = ["{partner}/v1"]
model = "partner-sim"
[features.summarize]
candidate = "inhouse"
baseline = "partner"
"""


class Collector(ThreadingHTTPServer):
    """An OTLP/HTTP receiver."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.spans: list[object] = []


class CollectorHandler(BaseHTTPRequestHandler):
    """Keeps the spans it is sent."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class System(NamedTuple):
    """A gateway of two workers."""

    url: str
    admin_url: str
    folder: Path
    command: object
    gateway: object

    def post(self, request_id: str, model: str = "copilot/summarize", key: str = KEY, **headers: str) -> int:
        """Send a request on a connection of its own, so that either worker may get it."""
        headers = {"authorization": f"Bearer {key}", "x-request-id": request_id, **headers}
        body = {"model": model, "messages": MESSAGES, "user": request_id}
        return httpx2.post(
            f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=30, verify=TLS
        ).status_code

    def lines(self) -> list[dict[str, object]]:
        """The access log up to its last end of a line; every line must be whole."""
        text = (self.folder / "access.jsonl").read_text("utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in text.splitlines()]

    def api(self, method: str, path: str, **more: object) -> httpx2.Response:
        headers = {"authorization": f"Bearer {KEY}", **more.pop("headers", {})}
        return httpx2.request(method, f"{self.admin_url}/api/v1{path}", headers=headers, timeout=30, verify=TLS, **more)

    def explained(self, request_id: str) -> dict[str, object]:
        answer = self.api("GET", "/requests", params={"request_id": request_id})
        assert answer.status_code == 200, answer.text
        (request,) = answer.json()["requests"]
        return request

    def told(self, request_id: str) -> dict[str, str]:
        return {step["check"]: step["found"] for step in self.explained(request_id)["steps"]}

    def share(self, share: str, reason: str) -> None:
        revision = self.api("GET", "/features/summarize").json()["revision"]
        body = {"share": share, "reason": reason}
        answer = self.api("PUT", "/features/summarize/share", json=body, headers={"if-match": f'"{revision}"'})
        assert answer.status_code == 200

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command against this gateway."""
        at = {"GLIDEPATH_ADMIN_URL": self.admin_url, "GLIDEPATH_API_KEY": KEY}
        command = self.command(*arguments, **at)
        return command.end(), command.stdout, command.stderr


@pytest.fixture(scope="module")
def system(module_command, module_folder: Path, collector: Collector) -> Iterator[System]:
    simulator = module_command("simulator", "--port", "0", "--model", "partner-sim", "--ttft-median-s", "0.001")
    partner = simulator.shown(r"READY (http://\S+)/v1")[1]
    traces = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    (module_folder / "glidepath.toml").write_text(CONFIG.format(partner=partner, collector=traces))
    gateway = module_command("gateway", "--config", "glidepath.toml", GLIDEPATH_BOOTSTRAP_KEY=KEY)
    url, admin_url = gateway.shown(r"gateway (http://\S+)/v1  operator (http://\S+)").groups()
    yield System(url, admin_url, module_folder, module_command, gateway)
    assert gateway.stop() == 0


def until(condition: object) -> None:
    limit_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.02)


def test_a_request_is_explained_whichever_worker_had_it(system: System) -> None:
    ids = [f"plain/{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as callers:
        assert set(callers.map(system.post, ids)) == {200}
    for each in ids:
        record = system.explained(each)["record"]
        assert (record["request_id"], record["served"], record["outcome"]) == (each, "baseline", "ok")
    # The share then, not the one now.
    system.share("100%", "the candidate gets all")
    assert system.post("failed-over") == 200
    system.share("0%", "and nothing again")
    steps = system.told("plain/3")
    assert "not below the candidate's 0 (0%)" in steps["arm"]
    assert "tenant default" in steps["request"]
    steps = system.told("failed-over")
    assert "share 100%; set-share by" in steps["document"]
    assert "the candidate gets all" in steps["document"]
    assert "below the candidate's 100000 (100%)" in steps["arm"]
    assert steps["attempts"].startswith("first inhouse, which failed (unreachable: ")
    assert "then the other arm, baseline: partner at http://" in steps["attempts"]
    assert steps["outcome"] == "ok, status 200"


def test_who_was_refused_or_bypassed_is_explained_too(system: System) -> None:
    assert system.post("stranger", key="gp-nobody") == 401
    assert system.post("misspelt", model="copilot/sumarize") == 404
    assert system.post("by-name", model="partner-sim") == 200
    assert "(invalid_api_key)" in system.told("stranger")["outcome"]
    assert "(model_not_found)" in system.told("misspelt")["outcome"]
    assert "no rollout decided" in system.told("by-name")["arm"]


def test_the_command_shows_it(system: System) -> None:
    assert system.post("shown", **{"x-stainless-retry-count": "2"}) == 200
    code, out, _ = system.run("explain", "shown")
    assert code == 0
    assert "the SDK says it is retry number 2" in " ".join(out.split())
    code, out, _ = system.run("explain", "shown", "--json")
    assert json.loads(out)["requests"][0]["record"]["client_retries"] == 2
    code, _, err = system.run("explain", "never-sent")
    assert code == 4
    assert "no settled request with the id 'never-sent' is known" in err
    assert "known are all that ended since 2" in err
    assert system.api("GET", "/requests", params={"request_id": "x"}, headers={"authorization": "x"}).status_code == 401


def test_each_request_leaves_one_whole_line_whichever_worker_had_it(system: System) -> None:
    headers = {"authorization": f"Bearer {KEY}"}

    asked_by: dict[str, str] = {}

    def many(number: int) -> list[str]:
        with httpx2.Client(headers=headers, timeout=30, verify=TLS) as caller:
            body = {"model": "copilot/summarize", "messages": MESSAGES, "user": f"u{number}"}
            answers = [caller.post(f"{system.url}/v1/chat/completions", json=body) for _ in range(25)]
        assert {answer.status_code for answer in answers} == {200}
        sent = [answer.headers["x-request-id"] for answer in answers]
        asked_by.update(dict.fromkeys(sent, f"u{number}"))
        return sent

    with ThreadPoolExecutor(16) as callers:
        ids = [each for ids in callers.map(many, range(16)) for each in ids]
    assert len({each[: len("req_") + 12] for each in ids}) == 2, "both workers had some"
    until(lambda: len({line["request_id"] for line in system.lines()} & set(ids)) == len(ids))
    logged = Counter(line["request_id"] for line in system.lines())
    assert {logged[each] for each in ids} == {1}
    for line in system.lines():
        assert set(line) >= DECIDED, "whatever became of a request, its line has a place for why"
        if line["request_id"] in ids:
            assert (line["feature"], line["hash_version"], line["reason"]) == ("summarize", 3, "SPLIT")
            assert (line["assigned"], line["served"]) == ("baseline", "baseline")
            assert line["revision"] >= 1
            assert line["bucket"] == bucket(3, "summarize", asked_by[line["request_id"]])
    assert metric(system, "glidepath_access_log_dropped_total") == 0


def test_a_traced_request_leaves_a_span_and_an_exemplar(system: System, collector: Collector) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert system.post("traced", traceparent=f"00-{trace_id}-00f067aa0ba902b7-01") == 200
    assert system.post("untraced", traceparent=f"00-{'e' * 32}-00f067aa0ba902b7-00") == 200
    assert system.told("traced")["trace"] == trace_id
    assert "trace" not in system.told("untraced")
    until(lambda: collector.spans)
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace_id, "00f067aa0ba902b7")
    assert {pair.key: pair.value.string_value for pair in span.attributes}["glidepath.request_id"] == "traced"
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    page = httpx2.get(f"{system.admin_url}/metrics", headers=accept, timeout=30, verify=TLS).text
    marked = {
        sample.name: sample.exemplar.labels
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert marked == {"gen_ai_server_request_duration_seconds_bucket": {"trace_id": trace_id}}
    assert metric(system, "glidepath_spans_dropped_total") == 0


def test_successors_know_what_their_predecessors_knew(system: System) -> None:
    assert system.post("before", key="gp-nobody") == 401
    pid = system.gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    before = set(children.read_text("ascii").split())
    system.gateway.process.send_signal(signal.SIGHUP)
    until(lambda: not before & set(children.read_text("ascii").split()))
    assert system.told("before")["outcome"].startswith("refused, status 401")
    until(lambda: system.post("after") == 200)
    assert system.told("after")["outcome"] == "ok, status 200"


def metric(system: System, name: str) -> float:
    page = httpx2.get(f"{system.admin_url}/metrics", timeout=30, verify=TLS).text
    (value,) = [line.split()[1] for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(value)
