"""Streams as vLLM and OpenAI send them, as the events Anthropic's callers read."""

import json
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.providers.stream_as_messages import StreamAsMessages
from gateway.core.sse import Usage
from gateway.core.sse_typed import MessagesView


class Seen(NamedTuple):
    out: bytes
    content_begun: bool
    done: bool
    error_seen: bool
    finish_reason: str | None
    usage: Usage | None


def watch(*reads: bytes) -> Seen:
    view = StreamAsMessages(("hush",))
    out = b"".join([*(view.feed(read) for read in reads), view.end()])
    return Seen(out, view.content_begun, view.done, view.error_seen, view.finish_reason, view.usage)


def chunk(finish: str | None = None, stop_reason: object = None, index: int = 0, **delta: object) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, "stop_reason": stop_reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def call(index: int, arguments: str | None = None, **named: object) -> bytes:
    function = {name: value for name, value in (("name", named.pop("name", None)), ("arguments", arguments)) if value}
    return chunk(tool_calls=[{"index": index, **named, "function": function}])


COUNTS = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
USAGE = b"data: " + json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [], "usage": COUNTS}).encode() + b"\n\n"
DONE = b"data: [DONE]\n\n"
ROLE = chunk(role="assistant", content="")
TEXT = chunk(content="H\u00e9") + chunk(content="llo\n\n")
CALLS = (
    call(0, id="call_1", type="function", name="weather")
    + call(0, '{"city":')
    + call(0, ' "Rome"}')
    + call(1, "{}", id="call_2", name="now")
)
PLAIN = ROLE + TEXT + chunk("stop") + USAGE + DONE
FULL = ROLE + chunk(reasoning="hm") + chunk(reasoning="!") + TEXT + CALLS + chunk("tool_calls") + USAGE + DONE


def events(out: bytes) -> list[dict[str, object]]:
    found = []
    for event in out.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        payload = json.loads(data.removeprefix(b"data: "))
        assert name.decode() == f"event: {payload['type']}"
        found.append(payload)
    return found


def test_a_plain_stream_byte_by_byte() -> None:
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"chatcmpl-1","type":"message",'
        b'"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,'
        b'"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
    )
    block = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
    delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    expected = (
        start
        + block
        + b'{"type":"text","text":""}}\n\n'
        + delta
        + '{"type":"text_delta","text":"H\u00e9"}}\n\n'.encode()
        + delta
        + b'{"type":"text_delta","text":"llo\\n\\n"}}\n\n'
        + b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        + b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}'
        + b',"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,'
        + b'"output_tokens":5}}\n\n'
        + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    assert watch(PLAIN) == Seen(expected, True, True, False, "end_turn", Usage(9, 5))


def test_thoughts_and_tools() -> None:
    seen = watch(FULL)
    told = [
        (each["type"], each.get("index"), each.get("content_block") or each.get("delta")) for each in events(seen.out)
    ]
    assert told[1:-2] == [
        ("content_block_start", 0, {"type": "thinking", "thinking": "", "signature": ""}),
        ("content_block_delta", 0, {"type": "thinking_delta", "thinking": "hm"}),
        ("content_block_delta", 0, {"type": "thinking_delta", "thinking": "!"}),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, {"type": "text", "text": ""}),
        ("content_block_delta", 1, {"type": "text_delta", "text": "H\u00e9"}),
        ("content_block_delta", 1, {"type": "text_delta", "text": "llo\n\n"}),
        ("content_block_stop", 1, None),
        ("content_block_start", 2, {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}),
        ("content_block_delta", 2, {"type": "input_json_delta", "partial_json": '{"city":'}),
        ("content_block_delta", 2, {"type": "input_json_delta", "partial_json": ' "Rome"}'}),
        ("content_block_stop", 2, None),
        ("content_block_start", 3, {"type": "tool_use", "id": "call_2", "name": "now", "input": {}}),
        ("content_block_delta", 3, {"type": "input_json_delta", "partial_json": "{}"}),
        ("content_block_stop", 3, None),
    ]
    assert (seen.finish_reason, seen.done) == ("tool_use", True)


def test_what_it_gives_out_is_a_message_to_our_own_view() -> None:
    view = MessagesView()
    out = watch(FULL).out
    assert view.feed(out) + view.end() == out
    assert (view.content_begun, view.done, view.finish_reason) == (True, True, "tool_use")
    assert view.usage == Usage(9, 5)


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
    told = FULL.index(chunk("tool_calls"))
    for cut in range(told):
        seen = watch(FULL[:cut])
        assert (seen.done, seen.error_seen, seen.finish_reason) == (False, False, None)
        assert b"message_stop" not in seen.out
        assert b"message_delta" not in seen.out


def test_before_done_a_stream_only_ends_if_the_connection_ended_well() -> None:
    view = StreamAsMessages()
    assert b"message_delta" not in view.feed(PLAIN.removesuffix(DONE))
    assert (view.done, view.finish_reason) == (False, None)
    assert view.end().endswith(b'{"type":"message_stop"}\n\n')
    assert (view.done, view.finish_reason) == (False, "end_turn")


def test_what_vllm_stopped_at_is_said() -> None:
    delta = events(watch(ROLE + TEXT + chunk("stop", "END") + DONE).out)[-2]["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def test_a_refusal_is_text() -> None:
    seen = watch(ROLE + chunk(refusal="no") + chunk("stop") + DONE)
    assert (events(seen.out)[2]["delta"]["text"], seen.finish_reason) == ("no", "refusal")


def test_older_vllms_name_thoughts_otherwise() -> None:
    assert events(watch(ROLE + chunk(reasoning_content="hm")).out)[2]["delta"]["thinking"] == "hm"


def test_azures_first_event_is_about_the_prompt() -> None:
    first = b'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
    assert watch(first + PLAIN) == watch(PLAIN)


def test_a_call_without_an_id_gets_one() -> None:
    assert events(watch(ROLE + call(0, name="f")).out)[1]["content_block"]["id"] == "chatcmpl-1_0"


def test_other_choices_and_empty_pieces_are_left_out() -> None:
    empty = chunk(index=1, content="x") + chunk() + chunk(content="", tool_calls=None) + chunk(tool_calls=[])
    nothing = b'data: {"id":"chatcmpl-1","choices":[{"index":0,"finish_reason":null}]}\n\n'
    assert watch(ROLE + empty + nothing + TEXT + chunk("stop") + USAGE + DONE) == watch(PLAIN)


def test_the_end_of_nothing() -> None:
    seen = watch(DONE)
    assert [each["type"] for each in events(seen.out)] == ["message_start", "message_delta", "message_stop"]
    assert seen.finish_reason == "end_turn"


def test_an_error_in_band_ends_the_stream() -> None:
    error = b'data: {"error":{"message":"hush broke","type":"InternalServerError","param":null,"code":500}}\n\n'
    seen = watch(ROLE + TEXT + error + DONE)
    assert (seen.error_seen, seen.done, seen.finish_reason) == (True, False, None)
    last = events(seen.out)[-1]
    assert (last["type"], last["error"]["type"], last["error"]["message"]) == ("error", "api_error", "[redacted] broke")


@pytest.mark.parametrize(
    "bad",
    [
        b"data: nonsense\n\n",
        call(0, "{}"),
        chunk(tool_calls=[{"index": 0}]),
        call(-1, name="f"),
        call(0, name="f") + call(1, name="g") + call(0, "{}"),
    ],
)
def test_what_cant_be_read_is_an_error_not_a_gap(bad: bytes) -> None:
    seen = watch(ROLE + bad + DONE)
    assert (seen.error_seen, seen.done) == (True, False)
    assert events(seen.out)[-1]["error"]["code"] == "upstream_bad_event"


def test_a_connection_that_ends_in_the_middle_of_an_event_is_no_error_of_the_upstreams() -> None:
    assert not watch(ROLE + TEXT[:-9]).error_seen


@given(st.lists(st.binary(max_size=30) | st.sampled_from([ROLE, TEXT, CALLS, DONE, b"data: "]), max_size=8))
def test_any_bytes_raise_nothing(reads: list[bytes]) -> None:
    out = watch(*reads).out
    assert out == b"" or out.endswith(b"\n\n")
