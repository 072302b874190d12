"""The command against a server that answers as the operator API does."""

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rollout.core.errors import InvalidArgument, RolloutError
from rollout.requests.cli import add_commands

REQUEST: dict[str, Any] = {
    "record": {"request_id": "a/b+c", "at_s": 1_000.0, "outcome": "ok"},
    "share": "5%",
    "steps": [{"check": "arm", "found": "candidate, SPLIT: [bucket] 5"}, {"check": "outcome", "found": "ok"}],
}
KNOWN = {"request_id": "a/b+c", "requests": [REQUEST], "store": "ok", "silent_workers": 0, "complete_since_s": 1.0}
UNKNOWN = {"title": "t", "status": 404, "detail": "no such request", "hint": "known since 1970", "type": "u"}


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            (wanted,) = parse_qs(urlsplit(self.path).query)["request_id"]
            known = wanted in {"a/b+c", "twice"} and self.headers["authorization"] == "Bearer k"
            answer = {**KNOWN, "requests": [REQUEST, REQUEST], "store": "it is down"} if wanted == "twice" else KNOWN
            body = json.dumps(answer if known else UNKNOWN).encode()
            self.send_response(200 if known else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(url: str, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(["explain", *arguments, "--admin-url", url, "--api-key", "k"])
    code: int = args.run(args)
    return code


def test_it_shows_the_story_of_any_id(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(url, "a/b+c") == 0
    shown = capsys.readouterr().out
    assert "a/b+c" in shown
    assert "candidate, SPLIT: [bucket] 5" in shown
    assert "documents are missing" not in shown


def test_it_speaks_json(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(url, "a/b+c", "--json") == 0
    assert json.loads(capsys.readouterr().out) == KNOWN


def test_it_shows_all_of_an_id_and_what_is_missing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(url, "twice") == 0
    shown = capsys.readouterr().out
    assert shown.count("SPLIT") == 2
    assert "documents are missing: it is down" in shown


def test_an_unknown_one_says_how_far_back_they_are_known(url: str) -> None:
    with pytest.raises(RolloutError) as fault:
        run(url, "req_1")
    assert (fault.value.exit_code, fault.value.cause, fault.value.hint) == (4, "no such request", "known since 1970")


def test_what_can_be_no_id_is_not_asked_for() -> None:
    with pytest.raises(InvalidArgument, match="can't be a request's id"):
        run("http://127.0.0.1:9", "ü")
