from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from loadtests.bench import operating
from loadtests.bench.errors import BenchError
from loadtests.bench.subjects import FEATURE
from rollout.code_operations import read_wanted
from rollout.core.evidence.plans import series_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Operated(ThreadingHTTPServer):
    """Stands where the operator API of a gateway is; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, object, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Operated

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, body, self.headers.get("if-match")))
        content = json.dumps({"candidate": "inhouse", "baseline": "partner"}).encode()
        self.send_response(200)
        self.send_header("etag", f'"{len(self.server.asked)}"')
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = _answer  # noqa: N815  as the base wants them

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def operated() -> Iterator[Operated]:
    with Operated() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_half_of_the_traffic_is_given_by_hand_at_the_revision_that_was_read(operated: Operated) -> None:
    operating.split_traffic(operated.server_port)
    change = {"share_millipct": 50_000, "reason": "benchmark"}
    assert operated.asked[1:] == [("PUT", f"/api/v1/features/{FEATURE}/share", change, '"1"')]


def test_a_ramp_is_applied_and_started_at_the_revision_that_came_of_it(operated: Operated) -> None:
    operating.begin_ramp(operated.server_port)
    assert [(method, revision) for method, _, _, revision in operated.asked] == [
        ("GET", None),
        ("PUT", None),
        ("GET", None),
        ("POST", '"3"'),
    ]
    assert operated.asked[3][1] == f"/api/v1/features/{FEATURE}/ramp/start"


def test_the_ramp_is_one_that_gathers_evidence_of_each_request(operated: Operated) -> None:
    operating.begin_ramp(operated.server_port)
    flag = read_wanted(json.dumps(operated.asked[1][2]).encode())[FEATURE].flag
    assert flag.bucket_by == "request"
    assert {series.metric for series in series_of(flag)} == {"errors", "ttft_p95", "total_p95"}
    assert len(flag.gates) == 6


def test_a_gateway_that_is_not_there_is_named() -> None:
    with pytest.raises(BenchError, match="the gateway refused GET /features/summarize"):
        operating.split_traffic(1)
