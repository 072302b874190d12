"""What of a request decides its arm, on every relay path, and what the Record of it says."""

import pytest

from rollout.core.model import Eligibility

MESSAGES = [{"role": "user", "content": "hi"}]
PATHS = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 5},
}
PRO = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})
ANN = Eligibility(attributes={"==": [{"var": "user_id"}, "ann"]})
CHAT_BODY = (
    '{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)


def asked(path: str, **more: object) -> dict[str, object]:
    return {"model": "copilot/draft", **PATHS[path], **more}


@pytest.mark.parametrize("path", PATHS)
async def test_metadata_is_read_on_every_path(path: str, upstream, relay_gateway, settled, wire) -> None:
    answers = wire.plain(CHAT_BODY)
    candidate, baseline = await upstream(answers), await upstream(answers)
    rule = ANN if path == "/v1/messages" else PRO
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, flag={"eligibility": rule})
    caller = await gateway.caller()
    told = {"user_id": "ann"} if rule is ANN else {"plan": "pro"}
    for metadata, arm, reason in (
        (told, "candidate", "split"),
        ({"plan": "free", "user_id": "bob"}, "baseline", "ineligible"),
        ({"plan": ["pro"], "user_id": ["ann"]}, "baseline", "error"),
    ):
        caller.post(asked(path, metadata=metadata), "x-conversation-id: c", path=path)
        answer = await caller.answer()
        assert answer.status == 200, answer.body
        assert (answer.headers["x-glidepath-assigned"], answer.headers["x-glidepath-reason"]) == (arm, reason)
    records = await settled(gateway, 3)
    assert [record.reason for record in records] == ["SPLIT", "INELIGIBLE", "ERROR"]
    assert (len(candidate.requests), len(baseline.requests)) == (1, 2)


async def test_a_record_says_how_the_arm_was_drawn(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain(CHAT_BODY))
    gateway = await relay_gateway(candidate=server.port, baseline=1, flag={"hash_version": 2})
    caller = await gateway.caller()
    caller.post(asked("/v1/chat/completions", user="u"))
    assert (await caller.answer()).status == 200
    caller.post({"model": "copilot/nothing"})
    assert (await caller.answer()).status == 404
    first, refused = await settled(gateway, 2)
    assert (first.feature, first.revision, first.hash_version, first.assigned) == ("draft", 7, 2, "candidate")
    assert 0 <= first.bucket < 100_000
    assert (refused.hash_version, refused.bucket) == (0, -1)


async def test_a_pinned_conversation_is_told_apart_and_its_header_goes_no_further(
    upstream, relay_gateway, settled, wire
) -> None:
    answers = wire.plain(CHAT_BODY)
    candidate, baseline = await upstream(answers), await upstream(answers)
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, flag={"sticky": True})
    caller = await gateway.caller()
    caller.post(asked("/v1/chat/completions"), "x-conversation-id: c", "X-Glidepath-Assigned: baseline")
    answer = await caller.answer()
    assert (answer.headers["x-glidepath-arm"], answer.headers["x-glidepath-assigned"]) == ("baseline", "baseline")
    (record,) = await settled(gateway)
    assert (record.assigned, record.reason, record.unit_kind, record.bucket) == ("baseline", "PINNED", "", -1)
    assert (record.revision, record.hash_version) == (7, 3)
    assert not candidate.requests
    assert not [name for name in baseline.requests[0].headers if name.startswith("x-glidepath")]
