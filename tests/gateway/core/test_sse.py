import json
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core import sse
from gateway.core.errors import ApiError
from gateway.core.sse import EVENT_MAX_BYTES, StreamTooLargeError, StreamView, Usage, WatchedStream

USAGE = {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}


class Seen(NamedTuple):
    """All that a stream has shown."""

    forwarded: bytes
    content_begun: bool
    done: bool
    error_seen: bool
    finish_reason: str | None
    usage: Usage | None


def watch(*reads: bytes, usage_wanted: bool = False) -> Seen:
    view = StreamView(usage_wanted=usage_wanted)
    forwarded = b"".join([*(view.feed(data) for data in reads), view.end()])
    return Seen(forwarded, view.content_begun, view.done, view.error_seen, view.finish_reason, view.usage)


def event(payload: object) -> bytes:
    return b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"


def delta(**fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": None}], "usage": None})


ROLE = delta(role="assistant", content="")
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
DONE = event(b"[DONE]")
ERROR = event({"error": {"message": "x"}})
SHOWN_ERROR = b'data: {"error":{"message":"x","type":"server_error","param":null,"code":null}}\n\n'
STREAM = ROLE + delta(content="h\u00e9") + delta(content=" \U0001f600") + FINISH + event(USAGE) + DONE


def test_a_whole_stream() -> None:
    seen = watch(STREAM)
    assert seen == Seen(STREAM.replace(event(USAGE), b""), True, True, False, "stop", Usage(11, 3))


def test_of_a_long_stream_little_is_kept() -> None:
    view = StreamView(usage_wanted=False)
    for each in (ROLE, *(delta(content=f"word {number}") for number in range(200)), FINISH, event(USAGE), DONE):
        view.feed(each)
    assert sum(map(len, view._latest)) < 1_000
    assert view.end() == b""
    assert (view.done, view.finish_reason, view.usage) == (True, "stop", Usage(11, 3))


def test_the_usage_event_stays_if_asked_for() -> None:
    assert watch(STREAM, usage_wanted=True).forwarded == STREAM


def test_a_chunk_with_choices_stays_though_it_carries_usage() -> None:
    both = event({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    seen = watch(both + DONE)
    assert (seen.forwarded, seen.usage) == (both + DONE, Usage(1, 2))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending(ending: bytes) -> None:
    seen = watch(STREAM.replace(b"\n", ending))
    assert seen == watch(STREAM)._replace(forwarded=watch(STREAM).forwarded.replace(b"\n", ending))


@pytest.mark.parametrize(
    ("fields", "begun"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": None}, False),
        ({}, False),
        ({"content": "x"}, True),
        ({"reasoning": "x"}, True),
        ({"reasoning_content": "x"}, True),
        ({"refusal": "x"}, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, True),
        ({"tool_calls": []}, False),
        ({"tool_calls": None}, False),
    ],
)
def test_what_counts_as_first_content(*, fields: dict[str, object], begun: bool) -> None:
    assert watch(delta(**fields)).content_begun is begun


@pytest.mark.parametrize(("text", "begun"), [("", False), ("x", True)])
def test_first_content_of_a_text_completion(*, text: str, begun: bool) -> None:
    assert watch(event({"choices": [{"text": text}]})).content_begun is begun


@pytest.mark.parametrize(
    ("error", "seen"),
    [({"message": "broke", "code": 500}, True), ("broke", True), (None, False)],
)
def test_an_error_in_band_is_seen(*, error: object, seen: bool) -> None:
    assert watch(delta(content="x"), event({"error": error})).error_seen is seen
    assert watch(event({"error": error})).error_seen is seen


@pytest.mark.parametrize(
    "payload",
    [b"not json", b'{"choices":5}', b'{"\xff":1}', b'{"a":' + b"[" * 100_000, b"", b"[1]", b'{"usage":{"x":"\xff'],
)
def test_what_cant_be_read_is_passed_on(payload: bytes) -> None:
    seen = watch(event(payload))
    assert seen == Seen(event(payload), False, False, False, None, None)


def test_words_inside_generated_text_deceive_nobody() -> None:
    text = '"usage": {"error": {"x"}, "finish_reason":"stop" [DONE]\n\ndata: [DONE]\n\n'
    stream = delta(content="x") + delta(content=text)
    assert watch(stream) == Seen(stream, True, False, False, None, None)


def test_data_lines_are_joined_and_other_fields_left_alone() -> None:
    stream = b': keep-alive\n\nevent: x\nid: 1\ndata: {"choices":\ndata:[{"delta":\ndata:  {"content":"a"}}]}\n\n'
    assert watch(stream) == Seen(stream, True, False, False, None, None)


def test_keep_alive_comments_pass_before_and_after_the_content() -> None:
    stream = b": hi\n\n" + ROLE + b":\n\n" + delta(content="x") + b": again\n\n" + FINISH + DONE
    assert watch(stream).forwarded == stream


def test_only_whole_events_are_forwarded() -> None:
    view = StreamView(usage_wanted=False)
    assert view.feed(ROLE[:-1]) == b""
    assert view.feed(ROLE[-1:] + b"data: {") == ROLE
    assert view.end() == b"data: {"
    assert view.end() == b""


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_done_without_its_blank_line_counts(ending: bytes) -> None:
    stream = delta(content="x") + b"data: [DONE]" + ending
    assert watch(stream) == Seen(stream, True, True, False, None, None)


def test_a_usage_event_nobody_asked_for_is_dropped_even_if_it_ends_with_the_connection() -> None:
    stream = delta(content="x") + FINISH
    assert watch(stream + event(USAGE).rstrip()).forwarded == stream
    assert watch(stream + event(USAGE).rstrip(), usage_wanted=True).forwarded == stream + event(USAGE).rstrip()


def test_an_error_in_band_loses_its_secrets() -> None:
    error = {"message": "hush: POST http://10.0.0.7:8000/v1 failed", "type": "InternalServerError", "code": 500, "x": 1}
    shown = {
        "message": "[redacted]: POST [redacted] failed",
        "type": "InternalServerError",
        "param": None,
        "code": "500",
    }
    for stream in (delta(content="x") + event({"error": error}) + DONE, event({"error": error})[:-2]):
        view = StreamView(usage_wanted=False, secrets=("hush",))
        forwarded = view.feed(stream) + view.end()
        assert view.error_seen
        assert event({"error": shown}).replace(b": ", b":").replace(b", ", b",") in forwarded.replace(b": ", b":")


def test_a_long_error_event_is_found_from_its_start() -> None:
    error = event({"error": {"message": "hush" + "x" * 5_000}})
    view = StreamView(usage_wanted=False, secrets=("hush",))
    forwarded = view.feed(delta(content="x") * 20 + error + DONE)
    assert view.error_seen
    assert b"hush" not in forwarded


def test_the_error_event_of_a_broken_stream() -> None:
    error = ApiError(502, "broke", "server_error", code="upstream_broke")
    shown = b'data: {"error":{"message":"broke","type":"server_error","param":null,"code":"upstream_broke"}}\n\n'
    assert StreamView(usage_wanted=False).error_event(error) == shown


class Reader(WatchedStream):
    """The least a view says of its own."""

    def __init__(self, *, is_error: bool) -> None:
        super().__init__()
        self._is_error = is_error

    def _look(self, payload: bytes) -> bool:
        self.error_seen = self._is_error and b'"error"' in payload
        return False

    def _redact(self, event: bytes) -> bytes:
        return b"redacted\n\n"


@pytest.mark.skipif(not sse.__file__.endswith(".py"), reason="nothing inherits from a compiled class")
@pytest.mark.parametrize("is_error", [True, False])
def test_a_view_forwards_what_its_reader_doesnt_call_an_error(*, is_error: bool) -> None:
    view = Reader(is_error=is_error)
    assert view.feed(ERROR + event(USAGE)) == (b"redacted\n\n" if is_error else ERROR) + event(USAGE)
    assert view.feed(b"data: rest") + view.end() == b"data: rest"
    view.done = True
    assert view.end() == b""


def test_a_view_must_say_how_it_reads() -> None:
    view = WatchedStream()
    with pytest.raises(NotImplementedError):
        view.feed(ROLE)
    with pytest.raises(NotImplementedError):
        view._redact(ERROR)
    with pytest.raises(NotImplementedError):
        view.error_event(ApiError(502, "broke", "server_error"))


def test_an_event_without_end_is_refused() -> None:
    view = StreamView(usage_wanted=False)
    view.feed(b"data: ")
    with pytest.raises(StreamTooLargeError):
        view.feed(b"x" * EVENT_MAX_BYTES)


COMMENTS = (b": comment\n\n", b":\n\n", b"event: ping\n\n")
middles = st.lists(
    st.sampled_from(
        [
            *COMMENTS,
            ROLE,
            delta(content="h\u00e9llo \U0001f600"),
            delta(content='"usage": {'),
            delta(tool_calls=[{"index": 0}]),
            ERROR,
            event({"choices": [], "usage": None}),
            event(USAGE),
            b'data: {"choices":\ndata: [{"delta":{"content":"two lines"}}]}\n\n',
            b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
            b"data: nonsense\n\n",
        ]
    ),
    max_size=12,
)
ends = st.tuples(
    *(st.sampled_from([b"", each]) for each in (FINISH, event(USAGE), DONE, COMMENTS[0])),
    st.sampled_from([b"", b"data: {", b"data: [DONE]", b"data:[DONE]\n", b": x", event(USAGE)[:-1], FINISH[:-2]]),
)
streams = st.builds(
    lambda middle, end, ending: b"".join([*middle, *end]).replace(b"\n", ending),
    middles,
    ends,
    st.sampled_from([b"\n", b"\r\n"]),
)


@given(stream=streams, data=st.data(), usage_wanted=st.booleans())
def test_every_split_of_a_stream_shows_and_forwards_the_same(
    *, stream: bytes, data: st.DataObject, usage_wanted: bool
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reads = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert watch(*reads, usage_wanted=usage_wanted) == watch(stream, usage_wanted=usage_wanted)


@pytest.mark.parametrize("usage_wanted", [False, True])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte_and_at_every_single_cut(*, ending: bytes, usage_wanted: bool) -> None:
    stream = STREAM.replace(b"\n", ending)
    whole = watch(stream, usage_wanted=usage_wanted)
    assert watch(*(stream[i : i + 1] for i in range(len(stream))), usage_wanted=usage_wanted) == whole
    for cut in range(len(stream)):
        assert watch(stream[:cut], stream[cut:], usage_wanted=usage_wanted) == whole


@given(streams)
@example(STREAM)
def test_nothing_is_lost_but_the_usage_event(stream: bytes) -> None:
    forwarded = watch(stream, usage_wanted=True).forwarded
    for ending in (b"\n", b"\r\n"):
        stream = stream.replace(ERROR.replace(b"\n", ending), SHOWN_ERROR)
    assert forwarded == stream


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_pass(reads: list[bytes]) -> None:
    assert watch(*reads, usage_wanted=True).forwarded == b"".join(reads)
