import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.errors import ApiError
from gateway.core.providers.chat_request import DROPPED, MAX_TOKENS_DEFAULT, translate_chat_request

HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True}}


def translate(**fields: object) -> dict[str, object]:
    sent = {name: Raw(json.dumps(value).encode()) for name, value in {"messages": HI, **fields}.items()}
    return json.loads(translate_chat_request(sent, Raw(b'"claude"')))


def refusal(**fields: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        translate(**fields)
    assert caught.value.status == 400
    return caught.value


def test_the_least_there_is() -> None:
    assert translate(model="f") == {"model": "claude", "max_tokens": MAX_TOKENS_DEFAULT, "messages": HI}


def test_a_full_request() -> None:
    body = translate(
        model="f",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        max_completion_tokens=100,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
        user="u",
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        reasoning_effort="minimal",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}},
        seed=5,
        n=1,
        logprobs=False,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        store=None,
    )
    assert body == {
        "model": "claude",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": HI,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["a", "b"],
        "stream": True,
        "metadata": {"user_id": "u"},
        "tools": [{"name": "weather", "description": "d", "input_schema": SCHEMA, "strict": True}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
    }


@pytest.mark.parametrize(("sent", "got"), [(0, 0), (0.7, 0.7), (1, 1), (1.2, 1), (2, 1)])
def test_temperature_ends_at_one(sent: float, got: float) -> None:
    assert translate(temperature=sent)["temperature"] == got


def test_one_stop_sequence() -> None:
    assert translate(stop="a")["stop_sequences"] == ["a"]


@pytest.mark.parametrize("order", [("user", "safety_identifier"), ("safety_identifier", "user")])
def test_the_safety_identifier_goes_before_the_user(order: tuple[str, str]) -> None:
    assert translate(**{name: name for name in order})["metadata"] == {"user_id": "safety_identifier"}


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_what_leaves_the_answer_as_it_is_is_left_out(name: str) -> None:
    assert translate(**{name: "x"}) == translate()


@pytest.mark.parametrize(
    ("choice", "got"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_tool_choice(choice: object, got: object) -> None:
    assert translate(tools=[TOOL], tool_choice=choice)["tool_choice"] == got


def test_one_tool_at_a_time() -> None:
    one = translate(tools=[TOOL], parallel_tool_calls=False)
    assert one["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert translate(tools=[TOOL], tool_choice="none", parallel_tool_calls=False)["tool_choice"] == {"type": "none"}
    assert "tool_choice" not in translate(tools=[TOOL], parallel_tool_calls=True)


def test_without_tools_nothing_is_said_about_them() -> None:
    assert translate(tools=[], tool_choice="auto", parallel_tool_calls=False) == translate()


def test_a_tool_needs_no_parameters() -> None:
    tools = translate(tools=[{"type": "function", "function": {"name": "now"}}])["tools"]
    assert tools == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]


def test_reasoning() -> None:
    assert translate(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert translate(reasoning_effort="max")["output_config"] == {"effort": "max"}
    assert translate(thinking={"type": "adaptive"})["thinking"] == {"type": "adaptive"}
    assert refusal(reasoning_effort="huge").param == "reasoning_effort"


def test_plain_text_is_the_format_there_is() -> None:
    assert translate(response_format={"type": "text"}) == translate()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"50": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"store": True}, "store"),
        ({"verbosity": "low"}, "verbosity"),
        ({"functions": []}, "functions"),
        ({"audio": {}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"guided_json": {}}, "guided_json"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "x": 1}}, "response_format.x"),
        ({"response_format": {"type": "json_schema", "json_schema": {"x": 1}}}, "response_format.json_schema.x"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
        ({"tools": [TOOL, {**TOOL, "x": 1}]}, "tools[1].x"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools[0].function.x"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice"),
    ],
)
def test_what_cant_be_translated_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    error = refusal(**fields)
    assert (error.param, error.code) == (param, "unsupported_by_upstream")
    assert param.split(".", maxsplit=1)[0] in error.message or "can't be translated" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"),
        ({"response_format": {}}, "response_format.type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, object], param: str) -> None:
    error = refusal(**fields)
    assert (error.param, error.code) == (param, "missing_required_parameter")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 5}, "stop"),
        ({"tools": {}}, "tools"),
        ({"parallel_tool_calls": 1, "tools": [TOOL]}, "parallel_tool_calls"),
    ],
)
def test_wrong_types_are_named(fields: dict[str, object], param: str) -> None:
    error = refusal(**fields)
    assert (error.param, error.code) == (param, "invalid_type")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["function", "auto", "text", "json_schema", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "function", "name", "json_schema", "schema"]), inner, max_size=4)
    ),
    max_leaves=12,
)
names = st.sampled_from(
    ["messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop", "temperature", "user", "x"]
)


@given(st.dictionaries(names, json_values, max_size=6))
def test_any_json_gives_a_body_or_an_api_error(fields: dict[str, object]) -> None:
    body = None
    with suppress(ApiError):
        body = translate(**fields)
    assert body is None or {"model", "messages", "max_tokens"} <= body.keys()


@given(st.dictionaries(names, st.binary(max_size=40)))
def test_any_bytes_give_a_body_or_an_api_error(fields: dict[str, bytes]) -> None:
    sent = {"messages": b"[]"} | fields
    body = None
    with suppress(ApiError):
        body = translate_chat_request({name: Raw(value) for name, value in sent.items()}, Raw(b'"m"'))
    assert body is None or body.startswith(b'{"model":"m"')
