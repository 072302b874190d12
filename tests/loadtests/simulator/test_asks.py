import json

import pytest

from loadtests.simulator.asks import parse
from loadtests.simulator.tools import Tool, Toolbox
from loadtests.simulator.wire import Api, Ask, WireError


def asked(api: Api, **body: object) -> Ask:
    return parse(api, json.dumps({"model": "m", **body}).encode())


def test_chat_reads_the_last_user_message_whatever_its_form() -> None:
    parts = [
        {"type": "text", "text": "hello "},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "you"},
    ]
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    found = asked(Api.CHAT, messages=messages, unknown_field=1)
    assert found == Ask(Api.CHAT, "m", "hello you", 4)


def test_chat_reads_stream_usage_and_either_token_limit() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "stream_options": {"include_usage": True}}
    found = asked(Api.CHAT, **body, max_tokens=3)
    assert (found.stream, found.include_usage, found.max_tokens) == (True, True, 3)
    assert asked(Api.CHAT, **body, max_tokens=3, max_completion_tokens=2).max_tokens == 2


def test_a_chat_without_user_message_has_an_empty_question() -> None:
    assert asked(Api.CHAT, messages=[{"role": "system", "content": "x"}]).question == ""


@pytest.mark.parametrize("prompt", ["hello you", ["hello you"]])
def test_completions_take_a_text_or_one_text_in_a_list(prompt: object) -> None:
    assert asked(Api.COMPLETIONS, prompt=prompt) == Ask(Api.COMPLETIONS, "m", "hello you", 2)


def test_responses_take_a_text_or_messages_and_count_instructions() -> None:
    assert asked(Api.RESPONSES, input="hi", instructions="be brief").prompt_tokens == 3
    messages = [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]
    found = asked(Api.RESPONSES, input=messages, stream=True, max_output_tokens=4)
    assert found == Ask(Api.RESPONSES, "m", "hi", 1, stream=True, include_usage=True, max_tokens=4, store=True)


@pytest.mark.parametrize(
    ("api", "body", "param"),
    [
        (Api.CHAT, {"model": "m"}, None),
        (Api.CHAT, {"model": "m", "messages": []}, "messages"),
        (Api.CHAT, {"model": 1, "messages": []}, "model"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}, "stream"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 9}, "n"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        (Api.COMPLETIONS, {"model": "m", "prompt": ["a", "b"]}, "prompt"),
        (Api.RESPONSES, {"model": "m", "input": 7}, "input"),
        (Api.MESSAGES, {"model": "m", "messages": [{"role": "user", "content": "x"}]}, None),
        (Api.CHAT, [], None),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_parameter(api: Api, body: object, param: str | None) -> None:
    with pytest.raises(WireError) as caught:
        parse(api, json.dumps(body).encode())
    assert caught.value.status == 400
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "\xff", "messages": []}'])
def test_what_is_not_json_is_a_400(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse(Api.CHAT, body)
    assert caught.value.status == 400


def test_chat_reads_choices_logprobs_tools_and_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    function = {"name": "f", "parameters": schema}
    found = asked(
        Api.CHAT,
        messages=[{"role": "user", "content": "x"}],
        n=2,
        logprobs=True,
        top_logprobs=3,
        tools=[{"type": "function", "function": function}],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
    )
    assert (found.choices, found.logprobs, found.schema) == (2, 3, schema)
    assert found.toolbox == Toolbox((Tool("f", schema),), "required", None, parallel=False)
    assert asked(Api.CHAT, messages=[{"role": "user", "content": "x"}], logprobs=True).logprobs == 0


@pytest.mark.parametrize(
    ("wanted", "schema"), [({"type": "text"}, None), ({"type": "json_object"}, {}), ({"type": "json_schema"}, {})]
)
def test_formats_without_a_schema(wanted: dict, schema: object) -> None:
    assert asked(Api.CHAT, messages=[{"role": "user", "content": "x"}], response_format=wanted).schema == schema
    assert asked(Api.RESPONSES, input="x", text={"format": wanted}).schema == schema


def test_a_tools_result_is_what_the_last_turn_brings() -> None:
    chat = asked(Api.CHAT, messages=[{"role": "user", "content": "x"}, {"role": "tool", "content": "22 C"}])
    assert (chat.tool_result, chat.question) == ("22 C", "x")
    items = [{"role": "user", "content": "x"}, {"type": "function_call_output", "call_id": "c", "output": "22 C"}]
    assert asked(Api.RESPONSES, input=items).tool_result == "22 C"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"type": "tool_result", "tool_use_id": "t", "content": "22 C"}], "22 C"),
        ([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "22"}]}], "22"),
        ([{"type": "tool_result", "tool_use_id": "t"}], ""),
        ([{"type": "text", "text": "hi"}], None),
        ("hi", None),
    ],
)
def test_anthropic_messages_bring_results_in_blocks(content: object, expected: str | None) -> None:
    found = asked(Api.MESSAGES, messages=[{"role": "user", "content": content}], max_tokens=9)
    assert found.tool_result == expected


def test_anthropic_messages_read_system_stream_schema_and_the_question_before_a_tools_result() -> None:
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]}
    found = asked(
        Api.MESSAGES,
        messages=[{"role": "user", "content": "hi"}, result],
        system=[{"type": "text", "text": "be brief"}],
        max_tokens=9,
        stream=True,
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )
    assert (found.question, found.prompt_tokens, found.max_tokens) == ("hi", 3, 9)
    assert (found.stream, found.include_usage, found.schema) == (True, True, {"type": "object"})


def test_responses_keep_what_the_answer_repeats() -> None:
    found = asked(
        Api.RESPONSES, input="hi", previous_response_id="r", store=False, metadata={"a": "b"}, temperature=0.5
    )
    assert (found.previous_id, found.store) == ("r", False)
    assert found.echoed == {"metadata": {"a": "b"}, "temperature": 0.5, "store": False}
