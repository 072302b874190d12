import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ApiError
from gateway.core.outcome import Failure, Phase
from gateway.core.wire import (
    broken,
    error_lines,
    is_answer,
    lost_response,
    redact,
    request_lines,
    returned_lines,
    unavailable,
    upstream_error,
    upstream_head,
)


def lines(head: bytes) -> list[bytes]:
    return head.split(b"\r\n")


def test_the_fixed_part_of_a_head() -> None:
    head = upstream_head("/v1/completions", "h:1", "authorization: Bearer sk-1\r\n")
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\nhost: h:1\r\n")
    assert head.endswith(b"\r\nauthorization: Bearer sk-1\r\n")
    assert b"accept-encoding: identity\r\n" in head
    assert b"authorization" not in upstream_head("/p", "h", "")


def test_a_request_carries_its_id_its_length_and_the_trace() -> None:
    headers = {b"traceparent": b"00-ab-cd-01", b"tracestate": b"k=v", b"cookie": b"c", b"authorization": b"Bearer gp-x"}
    assert lines(request_lines(headers, b"req_1", 5)) == [
        b"x-request-id: req_1",
        b"content-length: 5",
        b"traceparent: 00-ab-cd-01",
        b"tracestate: k=v",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    "headers",
    [{}, {b"tracestate": b"k=v"}, {b"traceparent": b"a\r\nx: y"}, {b"traceparent": b"a\x00", b"tracestate": b"\x7f"}],
)
def test_no_trace_without_its_parent_or_with_control_characters(headers: dict[bytes, bytes]) -> None:
    assert lines(request_lines(headers, b"r", 1)) == [b"x-request-id: r", b"content-length: 1", b"", b""]


def test_of_the_upstreams_headers_only_the_type_and_encoding_return() -> None:
    headers = {b"content-type": b"text/event-stream", b"set-cookie": b"c", b"server": b"uvicorn"}
    assert returned_lines(headers) == b"content-type: text/event-stream\r\n"
    assert returned_lines({b"content-encoding": b"gzip"}) == (
        b"content-type: application/json\r\ncontent-encoding: gzip\r\n"
    )


def openai_error(**fields: object) -> bytes:
    return json.dumps({"error": fields}).encode()


@pytest.mark.parametrize(
    ("body", "message", "type_", "param", "code"),
    [
        (openai_error(message="m", type="t", param="p", code="c"), "m", "t", "p", "c"),
        (openai_error(message="m", code=400), "m", "invalid_request_error", None, None),
        (openai_error(message="m", code=17), "m", "invalid_request_error", None, "17"),
        (b'{"object":"error","message":"vllm says","type":"BadRequestError","code":400}', "vllm says", "", None, None),
        (b'{"error":"plain words"}', "plain words", "invalid_request_error", None, None),
        (b"<html>", "status 400", "invalid_request_error", None, None),
        (b"", "status 400", "invalid_request_error", None, None),
        (b'{"error":{"message":5}}', "status 400", "invalid_request_error", None, None),
        (b'{"\xff":1}', "status 400", "invalid_request_error", None, None),
        (b'{"a":' + b"[" * 100_000, "status 400", "invalid_request_error", None, None),
    ],
)
def test_the_callers_fault_keeps_status_code_and_message(
    body: bytes, message: str, type_: str, param: str | None, code: str | None
) -> None:
    error = upstream_error(400, {}, body)
    assert error.status == 400
    assert message in error.message
    assert type_ in error.type
    assert (error.param, error.code) == (param, code)
    assert error.retry_after_s is None


@pytest.mark.parametrize("status", [401, 403, 405, 407])
def test_the_operators_fault_is_a_502_that_tells_nothing(status: int) -> None:
    error = upstream_error(status, {}, openai_error(message="Incorrect API key provided: sk-abcdef"))
    assert (error.status, error.code) == (502, "upstream_auth_failed")
    assert "sk-" not in error.message


@pytest.mark.parametrize(
    ("status", "given", "code"),
    [
        (500, 502, "upstream_error"),
        (502, 502, "upstream_error"),
        (599, 502, "upstream_error"),
        (503, 503, "upstream_overloaded"),
        (529, 503, "upstream_overloaded"),
        (504, 504, "upstream_timeout"),
    ],
)
def test_the_upstreams_fault(status: int, given: int, code: str) -> None:
    error = upstream_error(status, {}, openai_error(message="stack trace at http://10.0.0.1"))
    assert (error.status, error.code, error.type) == (given, code, "server_error")
    assert "10.0.0.1" not in error.message
    assert (error.retry_after_s is not None) == (given == 503)


@pytest.mark.parametrize(
    ("sent", "retry_after_s"),
    [
        (None, 1),
        (b"17", 17),
        (b"0", 0),
        (b"100000", 120),
        (b"9" * 5_000, 1),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", 1),
        (b"-5", 1),
        (b"1.5", 1),
    ],
)
def test_429_and_503_always_say_when_to_come_back(sent: bytes | None, retry_after_s: int) -> None:
    headers = {} if sent is None else {b"retry-after": sent}
    limited = upstream_error(429, headers, openai_error(message="slow down", code="rate_limit_exceeded"))
    assert (limited.status, limited.type, limited.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert limited.message == "slow down"
    assert limited.retry_after_s == retry_after_s
    assert upstream_error(503, headers, b"").retry_after_s == retry_after_s


def test_a_429_without_words_gets_some() -> None:
    assert upstream_error(429, {}, b"").message == "Too many requests."


@pytest.mark.parametrize(
    ("phase", "kind", "status", "code"),
    [
        (Phase.CONNECT, "refused", 503, "upstream_unreachable"),
        (Phase.CONNECT, "queue_full", 503, "upstream_unreachable"),
        (Phase.CONNECT, "connect_timeout", 504, "upstream_timeout"),
        (Phase.FIRST_BYTE, "first_byte_timeout", 504, "upstream_timeout"),
        (Phase.BODY, "total_timeout", 504, "upstream_timeout"),
        (Phase.FIRST_BYTE, "reset", 502, "upstream_broke"),
        (Phase.BODY, "bad_answer", 502, "upstream_broke"),
    ],
)
def test_a_break_as_the_caller_gets_it(phase: Phase, kind: str, status: int, code: str) -> None:
    error = broken(Failure(phase, kind, "connect to 10.1.2.3:80 failed"))
    assert (error.status, error.code, error.type) == (status, code, "server_error")
    assert "10.1.2.3" not in error.message
    assert (error.retry_after_s is not None) == (status == 503)


def test_unavailable_has_a_retry_after_of_its_own() -> None:
    assert unavailable("m", code="c", retry_after_s=None).retry_after_s == 1
    assert unavailable("m", code="c", retry_after_s=9).retry_after_s == 9


@pytest.mark.parametrize(
    ("retry_after_s", "useless", "extra"),
    [
        (None, False, b""),
        (3, False, b"retry-after: 3\r\n"),
        (None, True, b"x-should-retry: false\r\n"),
        (0, True, b"retry-after: 0\r\nx-should-retry: false\r\n"),
    ],
)
def test_header_lines_of_an_error(*, retry_after_s: int | None, useless: bool, extra: bytes) -> None:
    error = ApiError(503, "m", "t", retry_after_s=retry_after_s)
    assert error_lines(error, retry_is_useless=useless) == b"content-type: application/json\r\n" + extra


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect key: Bearer abc.def",
        "bearer  \t abc.def",
        "BEARER bearer abc.def",
        "sent sk-proj-abc.def_1234567",
        "see https://abc.def/path?key=1",
        "ahttp://abc.def",
        "redis://:abc.def@host/0",
        "at 10.20.30.40:8000",
        "key_abcdef123",
        "at .abc.def:8000",
        "at " + "x." * 900 + "abc.def:8000",
    ],
)
def test_secrets_urls_and_addresses_are_cut_out(text: str) -> None:
    redacted = redact(text)
    assert "[redacted]" in redacted
    for secret in ("abc.def", "abcdef", "10.20.30.40", "://"):
        assert secret not in redacted


def test_plain_words_stay() -> None:
    text = "Maximum context length is 512 tokens (version 1.2.3), you asked for 9000; see `max_tokens`."
    assert redact(text) == text


def test_texts_are_bounded() -> None:
    assert len(redact("x" * 10_000)) == 2_000


fragments = st.sampled_from(
    [
        "Bearer ",
        "bearer\t",
        "https://",
        "http://h",
        "ws://",
        "sk-",
        "abcdef",
        " ",
        "\n",
        "a",
        "1.2.3.4",
        ".",
        "\u00a0",
        ":",
    ]
)


@given(st.lists(fragments | st.text(max_size=5), max_size=30).map("".join))
def test_no_bearer_token_and_no_url_is_ever_left(text: str) -> None:
    redacted = redact(text)
    assert "://" not in redacted
    assert not re.search(r"(?i)bearer\s+\S", redacted)


@pytest.mark.parametrize("field", ["message", "type", "param", "code"])
def test_no_field_of_an_upstreams_error_leaks(field: str) -> None:
    error = upstream_error(400, {}, openai_error(**{field: "Bearer abc.def"}))
    shown = (error.message, error.type, error.param, error.code)
    assert "abc.def" not in str(shown)
    assert "[redacted]" in str(shown)


@pytest.mark.parametrize(
    ("status", "content_type", "is_one"),
    [
        (200, b"application/json", True),
        (200, b"text/event-stream", True),
        (201, b"", True),
        (200, b"Text/HTML; charset=utf-8", False),
        (204, b"application/json", False),
        (307, b"application/json", False),
        (500, b"text/html", True),
    ],
)
def test_what_no_api_sends_is_no_answer(*, status: int, content_type: bytes, is_one: bool) -> None:
    assert is_answer(status, {b"content-type": content_type} if content_type else {}) is is_one


def test_the_configured_key_is_cut_out_wherever_it_stands() -> None:
    key = "0f3a"
    body = openai_error(message=f"bad {key}", type=key, param=key, code=key)
    error = upstream_error(400, {}, body, (key,))
    assert key not in f"{error.message} {error.type} {error.param} {error.code}"


def test_the_gateways_own_span_replaces_the_callers() -> None:
    headers = {b"traceparent": b"theirs", b"tracestate": b"a=1"}
    lines = request_lines(headers, b"r", 0, b"ours")
    assert b"traceparent: ours\r\ntracestate: a=1\r\n" in lines
    assert b"traceparent: ours\r\n" in request_lines({}, b"r", 0, b"ours")
    assert b"theirs" not in lines


def test_a_lost_response_is_told_from_a_lost_model() -> None:
    lost = lost_response(404, b'{"error":{"message":"Response with id resp_1 not found","code":404}}')
    assert lost is not None
    assert (lost.status, lost.param, lost.code) == (400, "previous_response_id", "previous_response_not_found")
    assert lost_response(404, b'{"error":{"message":"no","param":"model"}}') is None
    assert lost_response(400, b"{}") is None
