"""What of a request decides its arm, on every relay path, and what the Record of it says."""

import pytest

from gateway.core.outcome import UNDER_WAY
from rollout.core.bucketing import bucket
from rollout.core.model import Eligibility, UnitKind
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role
from rollout.core.unit_digest import digester

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


async def test_evidence_knows_the_unit_settled_or_under_way(upstream, relay_gateway, settled, wire, until) -> None:
    async def slow(peer) -> None:
        await peer.request()
        await peer.gone()

    server, stuck = await upstream(wire.plain(CHAT_BODY)), await upstream(slow)
    gate = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03)
    flag = {"gates": (gate,), "progress": Progress(phase=Phase.RUNNING, attempt=1)}
    gateway = await relay_gateway(candidate=stuck.port, baseline=server.port, share=50_000, flag=flag)
    arms = {"candidate": "", "baseline": ""}
    for number in range(100):
        drawn = bucket(3, "draft", f"c{number}")
        arms["candidate" if drawn < 50_000 else "baseline"] = f"c{number}"
    caller, waiting = await gateway.caller(), await gateway.caller()
    caller.post(asked("/v1/chat/completions"), f"x-conversation-id: {arms['baseline']}")
    assert (await caller.answer()).status == 200
    (record,) = await settled(gateway, 1)
    digest = digester("draft")
    assert record.unit_digest == digest(UnitKind.CONVERSATION, arms["baseline"])
    waiting.post(asked("/v1/chat/completions"), f"x-conversation-id: {arms['candidate']}")
    await until(lambda: stuck.connections)
    (found,) = gateway.relay.under_way(0.0)
    assert found.unit_digest == digest(UnitKind.CONVERSATION, arms["candidate"])
    assert (found.outcome, found.status, found.attempts, found.assigned) == (UNDER_WAY, 0, 1, "candidate")
    assert gateway.relay.under_way(1_000.0) == []
    assert len(gateway.records) == 1
