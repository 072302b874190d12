"""Defects that were found by attack, each with the request that showed it."""

import json

from msgspec.structs import replace

from gateway.auth import Keyring, first_key_record

CALL = {"model": "copilot/draft", "messages": [], "user": "u"}


async def _answer_of(relay_gateway, upstream, wire, body: str, head: str = "200 OK"):
    server = await upstream(wire.plain(body, head))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    return gateway, await caller.answer()


async def test_a_count_of_tokens_that_no_float_holds_is_not_counted(relay_gateway, upstream, wire, settled) -> None:
    body = '{"choices":[],"usage":{"prompt_tokens":%s,"completion_tokens":1}}' % ("9" * 400)
    gateway, answer = await _answer_of(relay_gateway, upstream, wire, body)
    assert answer.status == 200
    (record,) = await settled(gateway)
    assert (record.outcome, record.prompt_tokens) == ("ok", None)


async def test_a_key_of_ours_that_an_upstream_repeats_is_cut_out(relay_gateway, upstream, wire) -> None:
    text = "key sk-partner is bad, ask host10.internal.corp:8000 or user:secret@host"
    body = json.dumps({"error": {"message": text, "param": "key_points", "code": "api_version_unsupported"}})
    _, answer = await _answer_of(relay_gateway, upstream, wire, body, "400 Bad Request")
    assert "sk-partner" not in answer.error["message"]
    assert "host10" not in answer.error["message"]
    assert "secret" not in answer.error["message"]
    assert (answer.error["param"], answer.error["code"]) == ("key_points", "api_version_unsupported")


async def test_what_no_api_sends_is_no_answer(relay_gateway, upstream, wire, settled) -> None:
    for head in ("307 Temporary Redirect", "204 No Content", "304 Not Modified"):
        gateway, answer = await _answer_of(relay_gateway, upstream, wire, "", head)
        assert (answer.status, answer.error["code"]) == (502, "upstream_broke")
        (record,) = await settled(gateway)
        assert (record.outcome, record.cause) == ("upstream_error", "bad_answer")


async def test_a_candidate_without_its_model_is_answered_by_the_baseline(
    relay_gateway, upstream, wire, settled
) -> None:
    candidate = await upstream(wire.plain('{"error":{"message":"no such model"}}', "404 Not Found"))
    baseline = await upstream(wire.plain('{"choices":[]}'))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-glidepath-attempts"]) == (200, "2")
    (record,) = await settled(gateway)
    assert (record.assigned, record.served) == ("candidate", "baseline")


def test_a_damaged_key_record_locks_nobody_out() -> None:
    good = first_key_record("gp-good", 0.0, name="good")
    keyring = Keyring()
    keyring.replace([replace(good, id="bad", digest="zz"), good])
    assert len(keyring) == 1
    assert keyring.find({b"authorization": b"Bearer gp-good"}, 1.0).name == "good"
