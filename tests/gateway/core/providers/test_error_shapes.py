import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.errors import ApiError
from gateway.core.providers.error_shapes import (
    Said,
    redact_chat_event,
    redact_messages_event,
    redact_responses_event,
    render_error,
    said_in,
    stream_error,
)
from gateway.core.providers.slices import unsupported

ERROR = ApiError(400, "no", "invalid_request_error", param="tools", code="unsupported_by_upstream")
FOUR = {"message": "no", "type": "invalid_request_error", "param": "tools", "code": "unsupported_by_upstream"}
REDACTERS = (redact_chat_event, redact_messages_event, redact_responses_event)


def payload(event: bytes) -> dict[str, object]:
    return json.loads(event.split(b"data: ", 1)[1])


@pytest.mark.parametrize("operation", ["chat", "text_completion", "responses"])
def test_openais_shape(operation: str) -> None:
    assert json.loads(render_error(operation, ERROR)) == {"error": FOUR}


def test_anthropics_shape_holds_the_same_four_keys() -> None:
    body = json.loads(render_error("messages", ERROR, "req_1"))
    assert body == {"type": "error", "error": FOUR, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropics_type_follows_the_status(status: int, kind: str) -> None:
    assert json.loads(render_error("messages", ApiError(status, "x", "server_error")))["error"]["type"] == kind


def test_the_error_event_of_each_stream() -> None:
    assert (
        stream_error("chat", ERROR) == b"data: " + json.dumps({"error": FOUR}, separators=(",", ":")).encode() + b"\n\n"
    )
    assert stream_error("messages", ERROR).startswith(b"event: error\ndata: ")
    assert payload(stream_error("messages", ERROR)) == {"type": "error", "error": FOUR}
    assert stream_error("responses", ERROR, 7).startswith(b"event: error\ndata: ")
    flat = {name: FOUR[name] for name in ("message", "param", "code")}
    assert payload(stream_error("responses", ERROR, 7)) == {
        "type": "error",
        "sequence_number": 7,
        "error": FOUR,
        **flat,
    }


def test_a_chat_event_keeps_its_facts_and_loses_its_secrets() -> None:
    error = (
        b'data: {"error":{"message":"hush at 10.0.0.1:80","type":"T hush","param":"p","code":"c","extra":"hush"}}\n\n'
    )
    shown = {"message": "[redacted] at [redacted]", "type": "T [redacted]", "param": "p", "code": "c"}
    assert payload(redact_chat_event(error, ("hush",))) == {"error": shown}


@pytest.mark.parametrize("error", [b'"broke"', b'{"message":"broke"}'])
def test_an_error_may_be_a_text(error: bytes) -> None:
    shown = {"message": "broke", "type": "server_error", "param": None, "code": None}
    assert payload(redact_chat_event(b'data: {"error":%b}\n\n' % error, ())) == {"error": shown}
    shown = {"type": "error", "error": {"type": "api_error", "message": "broke"}}
    assert payload(redact_messages_event(b'data: {"type":"error","error":%b}\n\n' % error, ())) == shown
    assert payload(redact_responses_event(b'data: {"type":"error","error":%b}\n\n' % error, ()))["message"] == "broke"


@pytest.mark.parametrize("event", [b"data: nonsense\n\n", b'data: {"error":[1]}\n\n', b"data: {}\n\n"])
@pytest.mark.parametrize("redacted", REDACTERS)
def test_an_error_that_cant_be_read_says_that_there_was_one(redacted: object, event: bytes) -> None:
    assert b"The model's server reported an error." in redacted(event, ())


@pytest.mark.parametrize(
    ("response", "code"), [(b'{"id":"r","error":{"code":"c","message":"x"}}', "c"), (b"5", "server_error")]
)
def test_a_failed_response(response: bytes, code: str) -> None:
    event = redact_responses_event(b'data: {"type":"response.failed","response":%b}\n\n' % response, ())
    assert event.startswith(b"event: response.failed\n")
    assert payload(event)["response"]["error"]["code"] == code


def test_what_an_error_says() -> None:
    assert said_in(Raw(b'{"message":"sk-1234567","type":"a","param":"b","code":5}'), ()) == Said(
        "[redacted]", "a", "b", 5
    )


@given(st.binary(max_size=60), st.sampled_from(REDACTERS))
def test_any_event_gives_an_event(data: bytes, redacted: object) -> None:
    event = redacted(b"data: " + data + b"\n\n", ())
    assert event.endswith(b"}\n\n")
    assert json.loads(event.split(b"data: ", 1)[1])


def test_an_error_that_has_anthropics_type_already_keeps_it() -> None:
    told = payload(stream_error("messages", ApiError(502, "m", "overloaded_error", code="upstream_error")))
    assert told["error"]["type"] == "overloaded_error"


def test_a_thread_that_can_not_be_held_is_refused_in_the_words_that_sdks_recover_from() -> None:
    refused = json.loads(render_error("messages", unsupported("thread", "no threads")))
    details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert refused["error"]["details"] == details
    assert "details" not in json.loads(render_error("messages", unsupported("speed", "no")))["error"]
