import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.errors import ApiError
from gateway.core.providers.chat_request import translate_chat_request
from gateway.core.providers.messages_request import DROPPED, translate_messages_request

HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "weather", "description": "d", "input_schema": SCHEMA}


def slices(fields: dict[str, object]) -> dict[str, Raw]:
    return {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}


def translate(kind: str = "vllm", **fields: object) -> dict[str, object]:
    sent = slices({"messages": HI, "max_tokens": 5, **fields})
    return json.loads(translate_messages_request(sent, Raw(b'"qwen"'), kind))


def refusal(kind: str = "vllm", **fields: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        translate(kind, **fields)
    assert caught.value.status == 400
    return caught.value


def test_the_least_there_is() -> None:
    assert translate(model="f") == {"model": "qwen", "messages": HI, "max_tokens": 5}


@pytest.mark.parametrize(("kind", "name"), [("openai", "max_completion_tokens"), ("azure", "max_completion_tokens")])
def test_openais_reasoning_models_know_another_name_for_the_limit(kind: str, name: str) -> None:
    assert translate(kind) == {"model": "qwen", "messages": HI, name: 5}


def test_a_full_request() -> None:
    body = translate(
        system="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop_sequences=["a"],
        stream=True,
        metadata={"user_id": "u"},
        tools=[{**TOOL, "strict": True, "cache_control": {"type": "ephemeral"}}, {"type": "custom", **TOOL}],
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 10_000},
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
        speed="standard",
        container=None,
    )
    function = {"name": "weather", "description": "d", "parameters": SCHEMA}
    assert body == {
        "model": "qwen",
        "messages": [{"role": "system", "content": "Be brief."}, *HI],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["a"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u",
        "tools": [
            {"type": "function", "function": {**function, "strict": True}},
            {"type": "function", "function": function},
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "reasoning_effort": "medium",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "output", "schema": SCHEMA, "strict": True},
        },
    }


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_what_leaves_the_answer_as_it_is_is_left_out(name: str) -> None:
    assert translate(**{name: {"type": "ephemeral"}}) == translate()


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_384}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "high"),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"output_config": {"effort": "max"}, "thinking": {"type": "enabled", "budget_tokens": 1_024}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}, "output_config": {"effort": "max"}}, "max"),
    ],
)
def test_reasoning(fields: dict[str, object], effort: str | None) -> None:
    assert translate(**fields).get("reasoning_effort") == effort


@pytest.mark.parametrize(("sent", "got"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_tool_choice(sent: str, got: str) -> None:
    body = translate(tools=[TOOL], tool_choice={"type": sent})
    assert (body["tool_choice"], "parallel_tool_calls" in body) == (got, False)


def test_no_tools_are_no_tools() -> None:
    assert translate(tools=[], metadata={"conversation_id": "c"}) == translate()


def test_the_older_name_of_the_format() -> None:
    body = translate(output_format={"type": "json_schema", "schema": SCHEMA})
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_vllm_continues_what_the_assistant_began() -> None:
    begun = [*HI, {"role": "assistant", "content": "{"}]
    body = translate(messages=begun)
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    for kind in ("openai", "azure"):
        assert refusal(kind, messages=begun).param == "messages"
    used = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    assert refusal(messages=[*HI, {"role": "assistant", "content": [used]}]).param == "messages"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"speed": "fast"}, "speed"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "x": 1}}, "thinking.x"),
        ({"output_config": {"x": 1}}, "output_config.x"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema", "x": 1}}}, "output_config.format.x"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "tools[0].type"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tool_choice": {"type": "auto", "x": 1}}, "tool_choice.x"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
    ],
)
def test_what_cant_be_translated_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    error = refusal(**fields)
    assert (error.param, error.code) == (param, "unsupported_by_upstream")


def test_top_k_is_vllms_alone() -> None:
    assert refusal("openai", top_k=5).param == "top_k"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"max_tokens": None}, "max_tokens"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, object], param: str) -> None:
    error = refusal(**fields)
    assert (error.param, error.code) == (param, "missing_required_parameter")


words = st.text('ab \n"\\\u00e9\U0001f600', min_size=1, max_size=8)
ids = st.text("abc123_-", min_size=1, max_size=9)
arguments = st.dictionaries(words, st.integers() | words, max_size=2).map(json.dumps)
image = st.sampled_from(["data:image/png;base64,AAAA", "https://example.com/a.png"])
part = words.map(lambda of: {"type": "text", "text": of}) | image.map(
    lambda of: {"type": "image_url", "image_url": {"url": of}}
)
calls = st.lists(
    st.builds(
        lambda used, name, given: {"id": used, "type": "function", "function": {"name": name, "arguments": given}},
        ids,
        ids,
        arguments,
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each["id"],
)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, object]:
    messages: list[object] = [{"role": "system", "content": of} for of in draw(st.lists(words, max_size=1))]
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(words | st.lists(part, min_size=2, max_size=3))})
        if draw(st.booleans()):
            messages.append({"role": "assistant", "content": draw(words)})
        else:
            made = draw(calls)
            messages.append({"role": "assistant", "content": draw(st.none() | words), "tool_calls": made})
            messages += [{"role": "tool", "tool_call_id": each["id"], "content": draw(words)} for each in made]
    messages.append({"role": "user", "content": draw(words)})
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
    named = {"type": "function", "function": {"name": "f"}}
    extra = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "temperature": st.sampled_from([0, 0.5, 1]),
                "top_p": st.just(0.5),
                "stop": st.just(["x"]),
                "user": ids,
                "stream": st.just(False),
                "tool_choice": st.sampled_from(["auto", "required", "none", named]),
                "reasoning_effort": st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
            },
        )
    )
    return {"model": "m", "messages": messages, "max_tokens": draw(st.integers(1, 9)), "tools": [tool], **extra}


def meaning(chat: dict[str, object]) -> object:
    """A chat with its arguments read, and what a user says after results wherever it stands."""
    seen = json.loads(json.dumps(chat))
    for message in seen["messages"]:
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return seen


@given(chats())
def test_a_chat_that_became_messages_and_a_chat_again_means_the_same(chat: dict[str, object]) -> None:
    there = json.loads(translate_chat_request(slices(chat), Raw(b'"m"')))
    back = json.loads(translate_messages_request(slices(there), Raw(b'"m"'), "vllm"))
    assert meaning(back) == meaning(chat)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["user", "text", "tool", "enabled", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "name", "text", "effort"]), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "x"])


@given(st.dictionaries(names, values, max_size=6), st.sampled_from(["vllm", "openai", "azure"]))
def test_any_json_gives_a_body_or_an_api_error(fields: dict[str, object], kind: str) -> None:
    body = None
    with suppress(ApiError):
        body = translate(kind, **fields)
    assert body is None or {"model", "messages"} <= body.keys()
