"""One request to a real port: whatever comes of it is an answer or a word for why there is none."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.core.evaluation.answers import EvalAnswer, key_of
from gateway.core.evaluation.prompt_set import EvaluationError
from gateway.evaluation import asking
from gateway.evaluation.asking import ATTEMPTS_MAX, Asker, EvalArm
from tests.gateway.evaluation.models import Model, Reply, says

BODY = b'{"model": "m"}'


def ask(model: Model, *, api_key: str | None = None) -> tuple[EvalAnswer, list[float]]:
    """The answer, and the waits before it."""
    waits: list[float] = []

    async def sleep(wait_s: float) -> None:
        waits.append(wait_s)

    async def once() -> EvalAnswer:
        async with Asker(60.0, sleep=sleep) as asker:
            return await asker.ask(EvalArm("candidate", "inhouse", model.base_url, "m", api_key), BODY, 2)

    return asyncio.run(once()), waits


def test_an_answer_and_what_it_took(model: Model) -> None:
    model.reply = lambda _: says("Good morning", "length")
    answer, waits = ask(model, api_key="secret")
    assert (answer.problem, answer.text, answer.ending) == (None, "Good morning", "length")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 3)
    assert answer.ttft_s is not None
    assert 0 < answer.ttft_s <= answer.duration_s
    assert answer.key == key_of("candidate", model.base_url, BODY, 2)
    assert (model.asked, waits) == ([({"model": "m"}, "Bearer secret")], [])


def test_without_a_key_none_is_sent(model: Model) -> None:
    model.reply = lambda _: says("", usage=False)
    answer, _ = ask(model)
    assert (answer.text, answer.ttft_s, answer.completion_tokens) == ("", None, None)
    assert model.asked[0][1] is None


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(b"{}", 500), "status_500"),
        (Reply(b"", 302, location="/elsewhere"), "status_302"),
        (Reply(b"<html>"), "no_answer"),
        (Reply(b'data: {"error": {"message": "boom"}}\n\n'), "error_event"),
        (says("half", None, done=False), "cut_off"),
        (Reply(b"data: x", **{"content-length": "100"}), "RemoteProtocolError"),
    ],
)
def test_what_is_no_answer_has_a_word(model: Model, reply: Reply, problem: str) -> None:
    reply.headers.setdefault("connection", "close")
    model.reply = lambda _: reply
    answer, _ = ask(model)
    assert (answer.problem, answer.text) == (problem, "")


def test_a_refusal_that_passes_is_waited_for(model: Model) -> None:
    replies = [
        Reply(b"", 429, **{"retry-after": "7"}),
        Reply(b"", 503, **{"retry-after": "soon"}),
        Reply(b"", 529),
        says("fine"),
    ]
    model.reply = lambda _: replies.pop(0)
    answer, waits = ask(model)
    assert (answer.text, waits) == ("fine", [7.0, 1.0, 1.0])


def test_patience_ends(model: Model) -> None:
    model.reply = lambda _: Reply(b"", 429, **{"retry-after": "9999"})
    answer, waits = ask(model)
    assert (answer.problem, waits) == ("status_429", [asking.WAIT_MAX_S] * (ATTEMPTS_MAX - 1))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_lets_nobody_in_is_not_asked_on(model: Model, status: int) -> None:
    model.reply = lambda _: Reply(b"{}", status)
    with pytest.raises(EvaluationError, match=f"inhouse at .* status {status}"):
        ask(model)


def test_nobody_there(model: Model) -> None:
    model.stop()
    assert ask(model)[0].problem == "ConnectError"


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gateway.evaluation.asking.ANSWER_MAX_BYTES", says("x" * 4000).body),
        ("gateway.core.events.EVENT_MAX_BYTES", b"data: x"),
    ],
    ids=["answer", "event"],
)
def test_an_answer_has_a_largest_size(model: Model, monkeypatch: pytest.MonkeyPatch, name: str, body: bytes) -> None:
    monkeypatch.setattr(name, 5)
    model.reply = lambda _: Reply(body)
    assert ask(model)[0].problem == "too_large"


def test_a_silent_model_is_given_up(model: Model) -> None:
    async def once() -> EvalAnswer:
        async with Asker(0.05) as asker:
            return await asker.ask(EvalArm("candidate", "inhouse", model.base_url, "m", None), BODY)

    def silent(_: object) -> Reply:
        release.wait(60.0)
        return says("late")

    release = threading.Event()
    model.reply = silent
    try:
        assert asyncio.run(once()).problem == "timeout"
    finally:
        release.set()
