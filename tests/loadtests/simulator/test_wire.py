import json

import pytest

from loadtests.simulator.wire import Api, Ask, WireError, error_object, parse


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
    assert found == Ask(Api.RESPONSES, "m", "hi", 1, stream=True, include_usage=True, max_tokens=4)


@pytest.mark.parametrize(
    ("api", "body", "param"),
    [
        (Api.CHAT, {"model": "m"}, None),
        (Api.CHAT, {"model": "m", "messages": []}, "messages"),
        (Api.CHAT, {"model": 1, "messages": []}, "model"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}, "stream"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}, "n"),
        (Api.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
        (Api.COMPLETIONS, {"model": "m", "prompt": ["a", "b"]}, "prompt"),
        (Api.RESPONSES, {"model": "m", "input": 7}, "input"),
        (Api.CHAT, [], None),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_parameter(api: Api, body: object, param: str | None) -> None:
    with pytest.raises(WireError) as caught:
        parse(api, json.dumps(body).encode())
    assert caught.value.status == 400
    assert caught.value.body["error"]["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b'{"model": "\xff", "messages": []}'])
def test_what_is_not_json_is_a_400(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse(Api.CHAT, body)
    assert caught.value.status == 400


def test_an_error_always_has_all_four_keys() -> None:
    assert set(error_object("m", "t", None, None)["error"]) == {"message", "type", "param", "code"}
