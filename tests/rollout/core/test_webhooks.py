import base64
import hashlib
import hmac
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.audit import AuditEntry
from rollout.core.errors import InvalidArgument
from rollout.core.webhooks import (
    KINDS,
    Attempted,
    Event,
    RetryRules,
    body_of,
    event_of,
    headers_of,
    kind_of,
    make_event,
    outcome_of,
    read_secrets,
    wait_s,
)

SECRET = bytes(range(32))
OTHER = bytes(range(32, 64))
ENTRY = AuditEntry(
    id=9,
    at_s=1_700_000_000.25,
    actor="ann",
    command="set-share",
    reason="ramp ü",
    feature="draft.v2",
    revision_before=3,
    revision_after=4,
    share_before_millipct=1_000,
    share_after_millipct=5_000,
    details={"share_millipct": 5_000, "owner": "ann"},
)


def shown(secret: bytes) -> str:
    return f"whsec_{base64.b64encode(secret).decode()}"


def test_a_change_becomes_an_event() -> None:
    event = event_of(ENTRY)
    assert json.loads(body_of(event)) == {
        "type": "rollout.set_share",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "data": {
            "feature": "draft.v2",
            "command": "set-share",
            "actor": "ann",
            "reason": "ramp ü",
            "revision": 4,
            "revision_before": 3,
            "share_millipct": 5_000,
            "share_before_millipct": 1_000,
            "changed": ["owner", "share_millipct"],
        },
    }


def test_the_same_change_has_the_same_id_and_another_has_another() -> None:
    event = event_of(ENTRY)
    assert event == event_of(replace(ENTRY, id=0))  # whoever tells it, before or after the store gave it a number
    assert body_of(event) == body_of(event_of(ENTRY))
    others = [
        replace(ENTRY, feature="draft"),
        replace(ENTRY, revision_after=5),
        replace(ENTRY, at_s=1.0),
        replace(ENTRY, command="kill"),
    ]
    assert len({event.event_id, *(event_of(other).event_id for other in others)}) == 5


@pytest.mark.parametrize(
    "fields",
    [{"event_id": "evt.1"}, {"event_id": ""}, {"event_id": "é"}, {"kind": ""}, {"kind": "Rollout"}, {"kind": "a..b"}],
)
def test_an_event_that_cannot_be_signed_without_doubt_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="event's"):
        Event(**{"event_id": "evt_1", "kind": "rollout.kill", "at_s": 1.0, "data": {}} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [{"x": math.nan}, {"x": object()}])
def test_data_that_is_no_json_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        body_of(make_event("a", 1.0, data, ("x",)))


def test_the_published_example_of_a_signature() -> None:
    """As in the reference libraries of Standard Webhooks."""
    secrets = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    event = Event(event_id="msg_p5jXN8AQM9LWM0D4loKWxJek", kind="test", at_s=0.0, data={})
    headers = headers_of(event, b'{"test": 2432232314}', secrets, 1_614_265_330.9)
    assert headers == {
        "content-type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_every_secret_signs() -> None:
    event, body = event_of(ENTRY), body_of(event_of(ENTRY))
    headers = headers_of(event, body, (SECRET, OTHER), 7.0)
    signed = f"{event.event_id}.7.".encode() + body
    marks = [base64.b64encode(hmac.new(each, signed, hashlib.sha256).digest()).decode() for each in (SECRET, OTHER)]
    assert headers["webhook-signature"] == f"v1,{marks[0]} v1,{marks[1]}"


@given(st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=4))
def test_secrets_are_read(secrets: list[bytes]) -> None:
    assert read_secrets("\n\n".join(f" {shown(secret)} " for secret in secrets) + "\n") == tuple(secrets)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "\n".join([shown(SECRET)] * 5),
        shown(bytes(23)),
        shown(bytes(65)),
        base64.b64encode(SECRET).decode(),
        "whsec_sesame",
        "whsec_" + "é" * 40,
        f"{shown(SECRET)}\nwhsec_sesame",
        f"whsk_{base64.b64encode(SECRET).decode()}",
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_unseen(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        read_secrets(text)
    told = refused.value.cause + refused.value.hint
    assert "sesame" not in told
    assert base64.b64encode(SECRET).decode() not in told


def test_only_success_is_a_delivery() -> None:
    judged = {status: outcome_of(status) for status in range(100, 600)}
    assert {status for status, outcome in judged.items() if outcome is Attempted.DELIVERED} == set(range(200, 300))
    assert [status for status, outcome in judged.items() if outcome is Attempted.GONE] == [410]
    assert set(judged.values()) == {Attempted.DELIVERED, Attempted.GONE, Attempted.FAILED}


@given(st.floats(0, 1, exclude_max=True))
def test_waits_grow_within_their_band_and_end(drawn: float) -> None:
    rules = RetryRules()
    waits = [wait_s(rules, failures, None, drawn) for failures in range(1, len(rules.waits_s) + 1)]
    for wait, middle in zip(waits, rules.waits_s, strict=True):
        assert wait is not None
        assert 0.8 * middle - 1e-9 <= wait <= 1.2 * middle + 1e-9
    assert wait_s(rules, len(rules.waits_s) + 1, None, drawn) is None
    assert wait_s(rules, 0, None, drawn) is None


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("60", 60.0),
        ("1", 5.0),
        ("999999", 100.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 5.0),
        ("-1", 5.0),
        ("\uff160", 5.0),  # a digit, but none of HTTP's
        ("", 5.0),
    ],
)
def test_a_receiver_may_ask_for_more_time_within_reason(retry_after: str, wait: float) -> None:
    assert wait_s(RetryRules((5.0,), retry_after_max_s=100.0), 1, retry_after, 0.5) == wait


@pytest.mark.parametrize("command", ["set-share", "roll_back", "kill", "unkill", "create", "apply", "enrol-approve"])
def test_every_command_has_a_kind_that_may_be_asked_for(command: str) -> None:
    assert kind_of(command) in KINDS
    assert event_of(replace(ENTRY, command=command)).kind == kind_of(command)
