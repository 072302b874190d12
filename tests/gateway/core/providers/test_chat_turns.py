import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from gateway.core.errors import ApiError
from gateway.core.providers.chat_turns import call_id, object_slice, turns_of

HI = {"role": "user", "content": "hi"}


def turns(*messages: object) -> tuple[object, list[object]]:
    system, found = turns_of(Raw(json.dumps(messages).encode()))
    return json.loads(encode(system)), json.loads(encode(found))


def refusal(*messages: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        turns(*messages)
    assert caught.value.status == 400
    return caught.value


def text(of: str) -> dict[str, str]:
    return {"type": "text", "text": of}


def call(name: str, arguments: str, used: str = "call_1") -> dict[str, object]:
    return {"id": used, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_texts_pass_as_they_came() -> None:
    answer = {"role": "assistant", "content": "h\u00e9"}
    assert turns(HI, answer, HI) == (None, [HI, answer, HI])


def test_system_and_developer_messages_are_hoisted_in_their_order() -> None:
    system, found = turns(
        {"role": "developer", "content": "a"},
        HI,
        {"role": "system", "content": [text("b"), text(""), text("c")]},
    )
    assert (system, found) == ([text("a"), text("b"), text("c")], [HI])


def test_images() -> None:
    parts = [
        text("look"),
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
    ]
    data = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    blocks = [
        text("look"),
        {"type": "image", "source": data},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
    ]
    assert turns({"role": "user", "content": parts})[1] == [{"role": "user", "content": blocks}]


def test_tool_calls_and_their_results() -> None:
    found = turns(
        HI,
        {
            "role": "assistant",
            "content": "let me",
            "tool_calls": [call("f", '{"a": 1}'), call("g", "", "functions.g:1")],
            "refusal": None,
            "audio": None,
            "function_call": None,
            "reasoning": "hm",
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "functions.g:1", "content": [text("2"), text("3")]},
        {"role": "user", "content": "and?"},
    )[1]
    assert found == [
        HI,
        {
            "role": "assistant",
            "content": [
                text("let me"),
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "functions_g_1", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "1"},
                {"type": "tool_result", "tool_use_id": "functions_g_1", "content": [text("2"), text("3")]},
                text("and?"),
            ],
        },
    ]


def test_parts_after_a_tool_result_join_it() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "1"}
    found = turns({"role": "tool", "tool_call_id": "a", "content": "1"}, {"role": "user", "content": [text("x")]})[1]
    assert found == [{"role": "user", "content": [result, text("x")]}]


def test_what_users_say_in_a_row_stays_apart() -> None:
    assert turns(HI, HI, {"role": "user", "content": [text("x")]}, HI)[1] == [
        HI,
        HI,
        {"role": "user", "content": [text("x")]},
        HI,
    ]


def test_an_assistant_that_said_nothing_is_left_out() -> None:
    assert turns(HI, {"role": "assistant", "content": ""}, {"role": "assistant", "content": []})[1] == [HI]


def test_what_the_assistant_said_may_be_parts_or_a_refusal() -> None:
    parts = [text("a"), {"type": "refusal", "refusal": "b"}]
    found = turns({"role": "assistant", "content": parts, "refusal": "c"}, {"role": "assistant", "refusal": "d"})[1]
    assert [turn["content"] for turn in found] == [[text("a"), text("b"), text("c")], [text("d")]]


def test_a_text_with_calls_beside_it_may_be_empty() -> None:
    found = turns({"role": "assistant", "content": "", "tool_calls": [{**call("f", "{}"), "index": 0}]})[1]
    assert [block["type"] for block in found[0]["content"]] == ["tool_use"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "role"),
        ({"role": "user", "content": "x", "name": "Bob"}, "name"),
        ({"role": "assistant", "audio": {"id": "a"}}, "audio"),
        ({"role": "assistant", "function_call": {}}, "function_call"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "content[0].type"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "content[0].type"),
        ({"role": "user", "content": [{**text("x"), "y": 1}]}, "content[0].y"),
        ({"role": "system", "content": [{"type": "image_url", "image_url": {}}]}, "content[0].type"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]},
            "content[0].image_url.url",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "y": 1}}]},
            "content[0].image_url.y",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]}, "tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{**call("f", ""), "x": 1}]}, "tool_calls[0].x"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "function": {"x": 1}}]}, "tool_calls[0].function.x"),
    ],
)
def test_what_cant_be_translated_is_refused_by_name(message: object, param: str) -> None:
    error = refusal(HI, message)
    assert (error.param, error.code) == (f"messages[1].{param}", "unsupported_by_upstream")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"content": "x"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "tool", "content": "x"}, "tool_call_id"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text"),
        ({"role": "assistant", "content": [{"type": "refusal"}]}, "content[0].refusal"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "content[0].image_url"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": ""}}]}, "tool_calls[0].id"),
    ],
)
def test_what_is_missing_is_named(message: object, param: str) -> None:
    error = refusal(message)
    assert (error.param, error.code) == (f"messages[0].{param}", "missing_required_parameter")


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", "x"])
def test_arguments_must_be_an_object(arguments: str) -> None:
    error = refusal({"role": "assistant", "tool_calls": [call("f", arguments)]})
    assert (error.param, error.code) == ("messages[0].tool_calls[0].function.arguments", "invalid_value")


def test_messages_are_needed() -> None:
    with pytest.raises(ApiError):
        turns_of(None)


@pytest.mark.parametrize(
    ("given_text", "found"), [("", b"{}"), (' {"a":1} ', b'{"a":1}'), ("[]", None), ("\ud800", None)]
)
def test_object_slice(given_text: str, found: bytes | None) -> None:
    raw = object_slice(given_text)
    assert (None if raw is None else bytes(raw)) == found


@given(st.text(max_size=20))
def test_an_id_has_letters_anthropic_takes(sent: str) -> None:
    assert all(each.isascii() and (each.isalnum() or each in "_-") for each in call_id(sent))
    assert call_id(call_id(sent)) == call_id(sent)


values = st.recursive(
    st.none()
    | st.integers(0, 1)
    | st.sampled_from(["user", "tool", "assistant", "system", "text", "image_url", "{}", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "tool_calls", "function", "arguments", "id", "image_url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.lists(values, max_size=4))
def test_any_messages_give_turns_or_an_api_error(messages: list[object]) -> None:
    found: list[object] = []
    with suppress(ApiError):
        found = turns(*messages)[1]
    assert all(turn["role"] in {"user", "assistant"} for turn in found)
