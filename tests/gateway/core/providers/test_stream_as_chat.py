"""Streams as Anthropic's documentation shows them, as the chunks a chat's caller reads."""

import json
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.providers.answer_as_chat import Counts, ThinkingCount
from gateway.core.providers.stream_as_chat import StreamAsChat
from gateway.core.sse import StreamView, Usage


class Seen(NamedTuple):
    out: bytes
    content_begun: bool
    done: bool
    error_seen: bool
    finish_reason: str | None
    usage: Usage | None


def watch(*reads: bytes, usage_wanted: bool = True) -> Seen:
    view = StreamAsChat(usage_wanted=usage_wanted, created=7, secrets=("hush",))
    out = b"".join([*(view.feed(read) for read in reads), view.end()])
    return Seen(out, view.content_begun, view.done, view.error_seen, view.finish_reason, view.usage)


def event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(index: int, **block: object) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, **fields: object) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def message_delta(reason: str, **usage: object) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)


USAGE = {"input_tokens": 25, "cache_read_input_tokens": 100, "output_tokens": 1}
START = event("message_start", message={"id": "msg_1", "model": "claude", "content": [], "usage": USAGE})
END = event("message_stop")
TEXT = (
    start(0, type="text", text="")
    + event("ping")
    + delta(0, type="text_delta", text="H\u00e9")
    + delta(0, type="text_delta", text="llo\n\n")
    + stop(0)
)
THOUGHTS = (
    start(0, type="thinking", thinking="", signature="")
    + delta(0, type="thinking_delta", thinking="hm")
    + delta(0, type="signature_delta", signature="x")
    + stop(0)
)
TOOL = (
    start(1, type="tool_use", id="toolu_1", name="weather", input={})
    + delta(1, type="input_json_delta", partial_json="")
    + delta(1, type="input_json_delta", partial_json='{"city":')
    + delta(1, type="input_json_delta", partial_json=' "Rome"}')
    + stop(1)
)
EMPTY_TOOL = start(2, type="tool_use", id="toolu_2", name="now", input={}) + stop(2)
PLAIN = START + TEXT + message_delta("end_turn", output_tokens=15) + END
FULL = START + THOUGHTS + TEXT + TOOL + EMPTY_TOOL + message_delta("tool_use", output_tokens=30) + END


def chunks(out: bytes) -> list[object]:
    found = [event.removeprefix(b"data: ") for event in out.split(b"\n\n") if event.startswith(b"data: ")]
    return [each.decode() if each == b"[DONE]" else json.loads(each) for each in found]


def deltas(out: bytes) -> list[object]:
    return [chunk["choices"][0]["delta"] for chunk in chunks(out)[:-1] if chunk.get("choices")]


def test_a_plain_stream_byte_by_byte() -> None:
    head = b'data: {"id":"msg_1","object":"chat.completion.chunk","created":7,"model":"claude","choices":['
    tail = b'],"usage":null}\n\n'

    def chunk(said: bytes, finish: bytes = b"null") -> bytes:
        return head + b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}' % (said, finish) + tail

    expected = (
        chunk(b'{"role":"assistant","content":""}')
        + b": ping\n\n"
        + chunk('{"content":"H\u00e9"}'.encode())
        + chunk(b'{"content":"llo\\n\\n"}')
        + chunk(b"{}", b'"stop"')
        + head
        + b'],"usage":{"prompt_tokens":125,"completion_tokens":15,"total_tokens":140,'
        + b'"prompt_tokens_details":{"cached_tokens":100}}}\n\ndata: [DONE]\n\n'
    )
    assert watch(PLAIN) == Seen(expected, True, True, False, "stop", Usage(125, 15))


def test_usage_is_for_those_who_asked() -> None:
    out = watch(PLAIN, usage_wanted=False).out
    assert all("usage" not in chunk for chunk in chunks(out)[:-1])
    assert [bool(chunk["choices"]) for chunk in chunks(out)[:-1]] == [True] * 4


def test_thoughts_and_tools() -> None:
    seen = watch(FULL)
    assert deltas(seen.out) == [
        {"role": "assistant", "content": ""},
        {"reasoning": "hm"},
        {"content": "H\u00e9"},
        {"content": "llo\n\n"},
        {
            "tool_calls": [
                {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "Rome"}'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert (seen.finish_reason, seen.done) == ("tool_calls", True)


def test_what_a_block_says_as_it_opens_counts() -> None:
    blocks = (
        start(0, type="thinking", thinking="a")
        + start(1, type="text", text="b")
        + start(2, type="tool_use", id="t", name="f", input={"c": 1})
    )
    out = watch(START + blocks + message_delta("tool_use") + END).out
    assert deltas(out)[1:3] == [{"reasoning": "a"}, {"content": "b"}]
    assert json.loads(deltas(out)[-2]["tool_calls"][0]["function"]["arguments"]) == {"c": 1}


def test_tokens_thought_are_among_those_that_came_out() -> None:
    view = StreamAsChat(usage_wanted=True, created=0)
    view.feed(START + message_delta("end_turn", output_tokens=9, output_tokens_details={"thinking_tokens": 4}))
    view.feed(message_delta("end_turn", output_tokens=10))
    assert view._counts == Counts(25, None, 100, 10, ThinkingCount(4))


@pytest.mark.parametrize("stream", [PLAIN, FULL], ids=["plain", "full"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_every_cut_gives_the_same(stream: bytes, ending: bytes) -> None:
    stream = stream.replace(b"\n", ending)
    whole = watch(stream)
    assert watch(*(stream[i : i + 1] for i in range(len(stream)))) == whole
    for cut in range(len(stream)):
        assert watch(stream[:cut], stream[cut:]) == whole


@given(st.lists(st.integers(0, len(FULL)), max_size=12))
def test_every_split_gives_the_same(cuts: list[int]) -> None:
    assert watch(*(FULL[a:b] for a, b in pairwise([0, *sorted(cuts), len(FULL)]))) == watch(FULL)


def test_only_a_complete_stream_ends_in_success() -> None:
    told = FULL.index(b"event: message_delta")
    for cut in range(told):
        seen = watch(FULL[:cut])
        assert (seen.done, seen.error_seen, seen.finish_reason) == (False, False, None)
        assert b"[DONE]" not in seen.out
        assert b'"finish_reason":"' not in seen.out


def test_before_its_last_event_a_stream_only_ends_if_the_connection_ended_well() -> None:
    view = StreamAsChat(usage_wanted=False, created=0)
    assert b"[DONE]" not in view.feed(PLAIN.removesuffix(END))
    assert (view.done, view.finish_reason) == (False, None)
    assert view.end().endswith(b"data: [DONE]\n\n")
    assert (view.done, view.finish_reason) == (False, "stop")


def test_what_it_gives_out_is_a_chat_to_our_own_view() -> None:
    view = StreamView(usage_wanted=True)
    out = watch(FULL).out
    assert view.feed(out) + view.end() == out
    assert (view.content_begun, view.done, view.finish_reason) == (True, True, "tool_calls")
    assert view.usage == Usage(125, 30)


def test_an_error_in_band_ends_the_stream() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "hush is busy"})
    seen = watch(START + TEXT + error + END)
    assert (seen.error_seen, seen.done, seen.finish_reason) == (True, False, None)
    shown = {"message": "[redacted] is busy", "type": "overloaded_error", "param": None, "code": "upstream_error"}
    assert chunks(seen.out)[-1] == {"error": shown}


@pytest.mark.parametrize(
    "bad",
    [
        b"data: nonsense\n\n",
        b'data: {"type":5}\n\n',
        START,
        b'data: {"type":"content_block_start","content_block":{"type":"tool_use","input":{"a":"\xff"}}}\n\n' + stop(0),
    ],
)
def test_what_cant_be_read_is_an_error_not_a_gap(bad: bytes) -> None:
    seen = watch(START + bad + END)
    assert (seen.error_seen, seen.done) == (True, False)
    assert chunks(seen.out)[-1]["error"]["code"] == "upstream_bad_event"


def test_text_ahead_of_the_message_is_an_error() -> None:
    assert watch(TEXT).error_seen


def test_new_kinds_of_events_and_blocks_are_skipped() -> None:
    strange = (
        event("new_event")
        + start(0, type="new_block")
        + delta(0, type="new_delta")
        + stop(0)
        + event("message_delta", usage={"output_tokens": 2})
        + event("content_block_delta", index=0)
    )
    assert deltas(watch(START + strange + message_delta("end_turn") + END).out) == [
        {"role": "assistant", "content": ""},
        {},
    ]


def test_the_end_of_nothing() -> None:
    seen = watch(END)
    assert (seen.done, seen.finish_reason) == (True, "stop")
    assert watch(event("message_start") + END).done


@given(st.lists(st.binary(max_size=30) | st.sampled_from([START, TEXT, TOOL, END, b"data: "]), max_size=8))
def test_any_bytes_raise_nothing(reads: list[bytes]) -> None:
    out = watch(*reads).out
    assert out == b"" or out.endswith(b"\n\n")
