import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.stream import Observation, SseEvent, SseReader, StreamRecorder, StreamResult, observe, observe_body


def read(data: bytes, *cuts: int) -> list[SseEvent]:
    reader, events, start = SseReader(), [], 0
    for cut in (*sorted(cuts), len(data)):
        events += reader.feed(data[start:cut])
        start = cut
    return events


def chunk(content: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice | more]}).encode() + b"\n\n"


STREAMS = [
    b"data: one\n\ndata: two\ndata: lines\n\n",
    b"\xef\xbb\xbfevent: named\r\ndata:no space\r\n\r\n: comment\r\n\r\ndata: x\r\n\r\n",
    b"data: cr\rdata: only\r\rdata: next\r\r",
    "data: gr\u00fc\u00df \U0001f600\n\n".encode(),
    b"id: 1\nretry: 5\nunknown\ndata\n\ndata: unfinished",
    b"data: mixed\r\n\rdata: ends\n\r\n",
]
EXPECTED = [
    [("message", "one"), ("message", "two\nlines")],
    [("named", "no space"), ("message", "x")],
    [("message", "cr\nonly"), ("message", "next")],
    [("message", "gr\u00fc\u00df \U0001f600")],
    [("message", "")],
    [("message", "mixed"), ("message", "ends")],
]


@pytest.mark.parametrize(("data", "expected"), list(zip(STREAMS, EXPECTED, strict=True)))
def test_events_are_read_as_the_standard_says(data: bytes, expected: list) -> None:
    assert read(data) == expected


@pytest.mark.parametrize("data", STREAMS)
def test_every_split_in_two_and_byte_by_byte_give_the_same_events(data: bytes) -> None:
    whole = read(data)
    assert all(read(data, cut) == whole for cut in range(len(data) + 1))
    assert read(data, *range(len(data))) == whole


def test_an_empty_read_between_cr_and_lf_changes_nothing() -> None:
    assert read(b"data: a\r\ndata: b\r\n", 8, 8) == read(b"data: a\r\ndata: b\r\n") == []


@given(st.lists(st.sampled_from([b"data: a", b"event: e", b": c", b"\n", b"\r", b"\r\n", b"\xc3", b"\xbc"])), st.data())
def test_any_splits_of_anything_give_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    text = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(min_value=0, max_value=len(text)), max_size=6))
    assert read(text, *cuts) == read(text)


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a\r\n\r") == [SseEvent("message", "a")]
    assert reader.feed(b"\n") == []
    assert reader.feed(b"data: b\n\n") == [SseEvent("message", "b")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("[DONE]", Observation(done=True)),
        ('{"choices": [{"delta": {"role": "assistant", "content": ""}}]}', Observation()),
        ('{"choices": [{"delta": {"content": "x"}}]}', Observation("x")),
        ('{"choices": [{"delta": {}, "finish_reason": "stop"}]}', Observation(finish_reason="stop")),
        ('{"choices": [{"text": "x", "finish_reason": null}]}', Observation("x")),
        ('{"choices": [], "usage": {"total_tokens": 3}}', Observation(usage={"total_tokens": 3})),
        ('{"error": {"message": "down", "code": "x"}}', Observation(error="down")),
        ('{"error": {"code": "x"}}', Observation(error="x")),
        ('{"error": {}}', Observation(error="unnamed error")),
        ('{"error": "down"}', Observation(error="down")),
        ('{"type": "error", "message": "down"}', Observation(error="down")),
        ('{"type": "response.failed"}', Observation(error="response.failed")),
        ('{"type": "response.created", "response": {"status": "in_progress"}}', Observation()),
        ('{"type": "response.output_text.delta", "delta": "x"}', Observation("x")),
        (
            '{"type": "response.completed", "response": {"status": "completed", "usage": {"output_tokens": 2}}}',
            Observation(finish_reason="stop", usage={"output_tokens": 2}, done=True),
        ),
    ],
)
def test_what_an_event_says(data: str, expected: Observation) -> None:
    assert observe(SseEvent("message", data)) == expected


@pytest.mark.parametrize("data", ["{", "7", '{"choices": 7}'])
def test_an_unreadable_event_is_an_error(data: str) -> None:
    assert (observe(SseEvent("message", data)).error or "").startswith("unreadable")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {"a": 1}}',
            Observation("x", "stop", {"a": 1}, done=True),
        ),
        ('{"choices": [{"text": "x", "finish_reason": "length"}]}', Observation("x", "length", done=True)),
        (
            json.dumps(
                {
                    "status": "incomplete",
                    "incomplete_details": {"reason": "content_filter"},
                    "output": [{"content": [{"text": "x"}]}, {"content": [{"text": "y"}]}],
                }
            ),
            Observation("xy", "content_filter", done=True),
        ),
        ('{"choices": []}', Observation(error="an answer without choices")),
        ('{"error": {"message": "no"}}', Observation(error="no")),
        ('{"choices": [{"message": null}]}', Observation(done=True)),
    ],
)
def test_what_a_single_body_says(body: str, expected: Observation) -> None:
    assert observe_body(body.encode()) == expected


def test_a_body_that_is_not_utf8_is_an_error() -> None:
    assert observe_body(b'{"choices": [{"text": "\xff"}]}').error


def recorded(*parts: tuple[float, bytes], end_s: float = 20.0) -> StreamResult:
    recorder = StreamRecorder(10.0)
    for now_s, data in parts:
        recorder.feed(data, now_s)
    return recorder.finish(end_s)


def test_times_run_from_the_request_to_the_content_not_to_the_role() -> None:
    found = recorded(
        (10.5, chunk("")),
        (11.0, chunk("a")),
        (11.25, chunk("b")[:20]),
        (11.5, chunk("b")[20:]),
        (12.5, chunk("c") + chunk(finish_reason="stop")),
        (13.0, b'data: {"choices": [], "usage": {"completion_tokens": 4}}\n\ndata: [DONE]\n\n'),
        end_s=13.5,
    )
    assert (found.ttft_s, found.gaps_s, found.e2e_s) == (1.0, (0.5, 1.0), 3.5)
    assert (found.text, found.finish_reason, found.done, found.problem) == ("abc", "stop", True, None)
    assert found.usage == {"completion_tokens": 4}
    assert found.tpot_s == pytest.approx(0.5)


def test_without_usage_the_deltas_are_the_tokens() -> None:
    assert recorded((11.0, chunk("a")), (12.0, chunk("b"))).tpot_s == 1.0
    assert recorded((11.0, chunk("a"))).tpot_s is None
    assert recorded().ttft_s is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "truncated: no finish reason"),
        (chunk("a"), "truncated: no finish reason"),
        (chunk("a") + b"data: [DONE]\n\n", "truncated: no finish reason"),
        (chunk("a") + chunk(finish_reason="stop"), "truncated: no end marker"),
        (chunk("a") + b'data: {"error": {"message": "down"}}\n\n', "error event: down"),
        (b'data: {"error": "first"}\n\ndata: {"error": "second"}\n\n', "error event: first"),
    ],
)
def test_an_answer_that_is_not_whole_says_why(data: bytes, problem: str) -> None:
    assert recorded((11.0, data)).problem == problem
