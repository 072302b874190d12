"""Streams as the official documentation shows them, whole, at every split, and broken."""

import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ApiError
from gateway.core.events import EVENT_MAX_BYTES, StreamTooLargeError
from gateway.core.sse import Usage, WatchedStream
from gateway.core.sse_typed import MessageCounts, MessagesView, ResponsesView

BROKE = ApiError(502, "broke", "server_error", code="upstream_broke")


class Seen(NamedTuple):
    forwarded: bytes
    content_begun: bool
    done: bool
    error_seen: bool
    finish_reason: str | None
    usage: Usage | None


def watch(view: WatchedStream, *reads: bytes) -> Seen:
    forwarded = b"".join([*(view.feed(data) for data in reads), view.end()])
    return Seen(forwarded, view.content_begun, view.done, view.error_seen, view.finish_reason, view.usage)


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(kind: str, number: int, **fields: object) -> bytes:
    answer = {"id": "resp_1", "object": "response", "status": "in_progress", "error": None, "usage": None, **fields}
    return event(f"response.{kind}", response=answer, sequence_number=number)


COUNTS = {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 11, "total_tokens": 48}
CREATED = response("created", 0) + response("in_progress", 1)
DELTAS = event("response.output_item.added", output_index=0, item={"id": "msg_1"}, sequence_number=2) + b"".join(
    event("response.output_text.delta", item_id="msg_1", delta=text, sequence_number=3 + at)
    for at, text in enumerate(["", "H\u00e9", ' "usage":{"error":{'])
)
COMPLETED = response("completed", 6, status="completed", usage=COUNTS)
RESPONSES = CREATED + DELTAS + COMPLETED

START = event(
    "message_start",
    message={"id": "msg_1", "usage": {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1}},
)
TEXT = (
    event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + event("ping")
    + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
    + event("content_block_stop", index=0)
)
TOOL = (
    event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}})
    + event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": ""})
    + event("content_block_stop", index=1)
)
DELTA = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 15})
STOP = event("message_stop")
MESSAGES = START + TEXT + DELTA + STOP

VIEWS = {"responses": (ResponsesView, RESPONSES), "messages": (MessagesView, MESSAGES)}


def test_a_whole_response() -> None:
    view = ResponsesView()
    assert watch(view, RESPONSES) == Seen(RESPONSES, True, True, False, "completed", Usage(37, 11))
    assert view.response_id == "resp_1"


def test_a_whole_message() -> None:
    assert watch(MessagesView(), MESSAGES) == Seen(MESSAGES, True, True, False, "end_turn", Usage(125, 15))


@pytest.mark.parametrize(("view", "stream"), VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte_and_at_every_cut(view: type[WatchedStream], stream: bytes, ending: bytes) -> None:
    stream = stream.replace(b"\n", ending)
    whole = watch(view(), stream)
    assert whole.done
    assert whole.forwarded == stream
    assert watch(view(), *(stream[i : i + 1] for i in range(len(stream)))) == whole
    for cut in range(len(stream)):
        assert watch(view(), stream[:cut], stream[cut:]) == whole


@pytest.mark.parametrize(("view", "stream"), VIEWS.values(), ids=VIEWS)
def test_a_stream_that_stops_anywhere_before_its_last_event_is_not_done(
    view: type[WatchedStream], stream: bytes
) -> None:
    last = stream.rindex(b"event:")
    for cut in range(last):
        assert not watch(view(), stream[:cut]).done


@pytest.mark.parametrize(("view", "stream"), VIEWS.values(), ids=VIEWS)
def test_the_last_event_counts_without_its_blank_line(view: type[WatchedStream], stream: bytes) -> None:
    assert watch(view(), stream[:-2]) == watch(view(), stream)._replace(forwarded=stream[:-2])


@pytest.mark.parametrize(
    ("end", "finish"),
    [
        (
            response("incomplete", 6, incomplete_details={"reason": "max_output_tokens"}, usage=COUNTS),
            "max_output_tokens",
        ),
        (response("incomplete", 6, incomplete_details=None), "incomplete"),
        (event("response.completed", response={"id": "resp_1"}), "completed"),
    ],
)
def test_ends_of_responses(end: bytes, finish: str) -> None:
    seen = watch(ResponsesView(), CREATED + DELTAS + end)
    assert (seen.done, seen.error_seen, seen.finish_reason) == (True, False, finish)


def test_a_long_last_event_is_read() -> None:
    end = response("completed", 6, usage=COUNTS, instructions="x" * 50_000, error=None)
    assert watch(ResponsesView(), CREATED + DELTAS, end) == Seen(
        CREATED + DELTAS + end, True, True, False, "completed", Usage(37, 11)
    )


def test_a_failed_response_is_an_error_without_secrets() -> None:
    failed = response("failed", 6, status="failed", error={"code": "server_error", "message": "key sk-1234567 hush"})
    seen = watch(ResponsesView(("hush",)), CREATED + DELTAS + failed)
    assert (seen.done, seen.error_seen) == (False, True)
    shown = json.loads(seen.forwarded.split(b"data: ")[-1])
    assert shown["response"]["error"] == {"code": "server_error", "message": "key [redacted] [redacted]"}
    assert (shown["type"], shown["sequence_number"], shown["response"]["id"]) == ("response.failed", 6, "resp_1")


@pytest.mark.parametrize(
    "error",
    [
        event("error", code="server_error", message="at http://10.0.0.1:8000", param=None, sequence_number=7),
        event("error", error={"code": "server_error", "message": "at http://10.0.0.1:8000"}, sequence_number=7),
    ],
)
def test_an_error_of_responses(error: bytes) -> None:
    seen = watch(ResponsesView(), CREATED + error)
    assert seen.error_seen
    shown = json.loads(seen.forwarded.split(b"data: ")[-1])
    assert (shown["message"], shown["sequence_number"]) == ("at [redacted]", 7)


def test_an_error_of_messages() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "hush, sk-abcdef123"}, request_id="req_1")
    for stream in (START + error, START + error[:-2]):
        seen = watch(MessagesView(("hush",)), stream)
        assert seen.error_seen
        shown = {"type": "overloaded_error", "message": "[redacted], [redacted]"}
        assert json.loads(seen.forwarded.split(b"data: ")[-1]) == {"type": "error", "error": shown}


@pytest.mark.parametrize(
    ("block", "begun"),
    [
        (TOOL, True),
        (event("content_block_start", index=0, content_block={"type": "text", "text": ""}), False),
        (event("content_block_delta", index=0, delta={"type": "text_delta", "text": ""}), False),
        (event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "x"}), True),
        (event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{"}), True),
        (event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "x"}), False),
        (event("ping"), False),
    ],
)
def test_what_counts_as_first_content_of_a_message(*, block: bytes, begun: bool) -> None:
    assert watch(MessagesView(), START + block).content_begun is begun


@pytest.mark.parametrize(
    ("kind", "delta", "begun"),
    [
        ("response.output_text.delta", "x", True),
        ("response.function_call_arguments.delta", "{", True),
        ("response.reasoning_summary_text.delta", "x", True),
        ("response.refusal.delta", "x", True),
        ("response.output_text.delta", "", False),
        ("response.output_text.done", "x", False),
    ],
)
def test_what_counts_as_first_content_of_a_response(*, kind: str, delta: str, begun: bool) -> None:
    assert watch(ResponsesView(), CREATED + event(kind, delta=delta)).content_begun is begun


@pytest.mark.parametrize("view", [ResponsesView, MessagesView])
@pytest.mark.parametrize("payload", [b"not json", b'{"type":5}', b'{"\xff":1}', b'{"a":' + b"[" * 100_000, b"[1]"])
def test_what_cant_be_read_is_passed_on(view: type[WatchedStream], payload: bytes) -> None:
    stream = b"data: " + payload + b"\n\n"
    assert watch(view(), stream) == Seen(stream, False, False, False, None, None)


def test_an_error_event_of_responses_is_numbered_after_the_last_event() -> None:
    view = ResponsesView()
    assert b'"sequence_number":0' in view.error_event(BROKE)
    view.feed(CREATED + DELTAS)
    assert b'"sequence_number":6' in view.error_event(BROKE)


def test_an_error_event_of_messages() -> None:
    assert (
        MessagesView().error_event(BROKE).startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')
    )


def test_later_counts_replace_earlier_ones_name_by_name() -> None:
    counts = MessageCounts(1, 2, 3, 4)
    assert counts.updated(MessageCounts()) == counts
    assert counts.updated(MessageCounts(5, 6, 7, 8)) == MessageCounts(5, 6, 7, 8)
    assert (counts.usage(), MessageCounts().usage()) == (Usage(6, 4), Usage(0, 0))


@pytest.mark.parametrize("view", [ResponsesView, MessagesView])
def test_an_event_without_end_is_refused(view: type[WatchedStream]) -> None:
    with pytest.raises(StreamTooLargeError):
        view().feed(b"data: " + b"x" * EVENT_MAX_BYTES)


@given(st.lists(st.binary(max_size=30), max_size=10), st.sampled_from([ResponsesView, MessagesView]))
def test_any_bytes_pass(reads: list[bytes], view: type[WatchedStream]) -> None:
    assert watch(view(), *reads).forwarded == b"".join(reads)
