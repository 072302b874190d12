import json

import pytest
from msgspec import Raw
from msgspec.json import encode

from gateway.core.errors import ApiError
from gateway.core.providers.messages_turns import messages_of

HI = {"role": "user", "content": "hi"}


def chat(*turns: object, system: object = None) -> list[object]:
    raw = None if system is None else Raw(json.dumps(system).encode())
    return json.loads(encode(messages_of(raw, Raw(json.dumps(turns).encode()))))


def text(of: str) -> dict[str, object]:
    return {"type": "text", "text": of, "cache_control": {"type": "ephemeral"}}


def part(of: str) -> dict[str, str]:
    return {"type": "text", "text": of}


def refusal(turn: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        chat(HI, turn)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("system", "content"),
    [("a", "a"), ([text("a")], "a"), ([text("a"), text("b")], [part("a"), part("b")])],
)
def test_the_system_prompt_comes_first(system: object, content: object) -> None:
    assert chat(HI, system=system) == [{"role": "system", "content": content}, HI]


def test_an_empty_system_prompt_is_none() -> None:
    assert chat(HI, system=[]) == [HI]


def test_a_system_turn_stays_in_its_place() -> None:
    turn = {"role": "system", "content": "a"}
    assert chat(HI, turn, {"role": "system", "content": [text("b")]}) == [HI, turn, {"role": "system", "content": "b"}]


def test_images() -> None:
    blocks = [
        text("look"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
    ]
    parts = [
        part("look"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
    ]
    assert chat({"role": "user", "content": blocks}) == [{"role": "user", "content": parts}]
    assert chat({"role": "user", "content": blocks[1:2]}) == [{"role": "user", "content": parts[1:2]}]


def test_tool_use_and_its_results() -> None:
    used = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "1", "is_error": True}
    found = chat(
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, text("so"), used]},
        {
            "role": "user",
            "content": [
                text("and?"),
                result,
                {"type": "tool_result", "tool_use_id": "t2"},
                {"type": "tool_result", "tool_use_id": "t3", "content": []},
                {"type": "tool_result", "tool_use_id": "t4", "content": [text("2")]},
            ],
        },
    )
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert found == [
        {
            "role": "assistant",
            "content": "so",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "1"},
        {"role": "tool", "tool_call_id": "t2", "content": ""},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
        {"role": "tool", "tool_call_id": "t4", "content": "2"},
        {"role": "user", "content": "and?"},
    ]


def test_use_without_words_and_words_without_use() -> None:
    used = {"type": "tool_use", "id": "t1", "name": "f"}
    found = chat({"role": "assistant", "content": [used]}, {"role": "assistant", "content": [text("a"), text("b")]})
    assert found[0]["content"] is None
    assert found[0]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert found[1] == {"role": "assistant", "content": [part("a"), part("b")]}


def test_results_alone_and_thoughts_alone() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
    assert chat({"role": "user", "content": [result]}) == [{"role": "tool", "tool_call_id": "t1", "content": "1"}]
    assert chat({"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}) == []


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"role": "tool", "content": "x"}, "role"),
        ({"role": "user", "content": "x", "name": "y"}, "name"),
        ({"role": "user", "content": [{"type": "document", "source": {}}]}, "content[0].type"),
        ({"role": "user", "content": [{**text("x"), "y": 1}]}, "content[0].y"),
        ({"role": "system", "content": [{"type": "image", "source": {}}]}, "content[0].type"),
        ({"role": "assistant", "content": [{"type": "server_tool_use"}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}, "content[0].source.type"),
        (
            {"role": "user", "content": [{"type": "image", "source": {}, "transformations": {}}]},
            "content[0].transformations",
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image"}]}]},
            "content[0].content[0].type",
        ),
    ],
)
def test_what_cant_be_translated_is_refused_by_name(turn: object, param: str) -> None:
    error = refusal(turn)
    assert (error.param, error.code) == (f"messages[1].{param}", "unsupported_by_upstream")


@pytest.mark.parametrize(
    ("turn", "param"),
    [
        ({"role": "user"}, "content"),
        ({"role": "user", "content": [{}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "user", "content": [{"type": "image"}]}, "content[0].source"),
        ({"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}, "content[0].source.url"),
        ({"role": "user", "content": [{"type": "tool_result"}]}, "content[0].tool_use_id"),
        ({"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}, "content[0].id"),
    ],
)
def test_what_is_missing_is_named(turn: object, param: str) -> None:
    error = refusal(turn)
    assert (error.param, error.code) == (f"messages[1].{param}", "missing_required_parameter")


def test_messages_are_needed() -> None:
    with pytest.raises(ApiError):
        messages_of(None, None)


@pytest.mark.parametrize("given", [b"5", b'{"a":"\xff"}', b'{"\xff":1}'])
def test_what_a_tool_was_given_must_be_readable(given: bytes) -> None:
    turn = b'[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":%b}]}]' % given
    with pytest.raises(ApiError) as caught:
        messages_of(None, Raw(turn))
    assert caught.value.param == "messages[0].content[0].input"
