from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from serving.demo_model.errors import DemoModelError
from serving.demo_model.evaluate import Target, evaluate
from serving.demo_model.prompts import evaluation_prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPTS = evaluation_prompts(6, 1)
REFERENCES = {p["messages"][0]["content"]: p["reference"] for p in PROMPTS}


@contextmanager
def server(answer: Any, status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server on a free port; `answer(body)` makes each answer; yields its base URL and what it was sent."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append({"path": self.path, "authorization": self.headers["authorization"], **body})
            payload = json.dumps(answer(body)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args: object) -> None:
            """Keep test output clean."""

    class Listening(ThreadingHTTPServer):
        def handle_error(self, *args: object) -> None:
            """A client that hangs up at the first refusal is what some tests are about."""

    listening = Listening(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}/v1", received
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


def test_right_answers_score_full_whatever_the_order_of_arrival() -> None:
    with server(lambda body: completion(REFERENCES[body["messages"][0]["content"]])) as (url, received):
        result = evaluate(Target(url, "demo", "secret"), PROMPTS)
    assert result.exact_match == {"rewrite": 1.0, "summarize": 1.0, "draft": 1.0}
    assert result.finished == 1.0
    assert result.answers == [p["reference"] for p in PROMPTS]
    assert {r["path"] for r in received} == {"/v1/chat/completions"}
    assert {r["authorization"] for r in received} == {"Bearer secret"}
    assert {(r["model"], r["temperature"]) for r in received} == {("demo", 0)}


def test_answers_cut_short_are_seen() -> None:
    with server(lambda _: completion("Hi", "length")) as (url, received):
        result = evaluate(Target(url, "demo"), PROMPTS)
    assert result.exact_match == {"rewrite": 0.0, "summarize": 0.0, "draft": 0.0}
    assert result.finished == 0.0
    assert received[0]["authorization"] is None


def test_a_refusal_is_named() -> None:
    with (
        server(lambda _: {"error": {"message": "no such model"}}, 404) as (url, _),
        pytest.raises(DemoModelError) as raised,
    ):
        evaluate(Target(url, "demo"), PROMPTS)
    assert "404" in raised.value.cause
    assert "no such model" in raised.value.cause
    assert raised.value.exit_code != 0


@pytest.mark.parametrize("strange", [{}, [], {"choices": []}, {"choices": None}])
def test_an_answer_that_is_no_completion_is_named(strange: object) -> None:
    with server(lambda _: strange) as (url, _), pytest.raises(DemoModelError) as raised:
        evaluate(Target(url, "demo"), PROMPTS)
    assert "did not answer with a chat completion" in raised.value.cause


def test_nobody_listening_is_named() -> None:
    with server(lambda _: {}) as (url, _):
        pass
    with pytest.raises(DemoModelError) as raised:
        evaluate(Target(url, "demo"), PROMPTS)
    assert "cannot reach" in raised.value.cause
    assert raised.value.hint
