"""Chat completions, text completions and models with the official openai package."""

from __future__ import annotations

import json

import openai
import pydantic
from checks import API_KEY, BASE_URL, MODEL, check, main, raised

CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=30)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class City(pydantic.BaseModel):
    name: str
    people: int
    rivers: list[str]


def user(text: str) -> list:
    return [{"role": "user", "content": text}]


@check
def plain() -> None:
    answer = CLIENT.chat.completions.create(model=MODEL, messages=user("[[say:Grüße 🌍!]]"))
    assert answer.choices[0].message.content == "Grüße 🌍!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@check
def parts_system_and_token_limit() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "say something"}]},
    ]
    answer = CLIENT.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


@check
def stream() -> None:
    chunks = list(CLIENT.chat.completions.create(model=MODEL, messages=user("[[say:Grüße 🌍!]]"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße 🌍!"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


@check
def stream_with_usage() -> None:
    options = {"include_usage": True}
    chunks = list(
        CLIENT.chat.completions.create(model=MODEL, messages=user("hello"), stream=True, stream_options=options)
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


@check
def stream_helper() -> None:
    with CLIENT.chat.completions.stream(model=MODEL, messages=user("[[say:one two]]")) as events:
        found = list(events)
        final = events.get_final_completion()
    assert "".join(event.delta for event in found if event.type == "content.delta") == "one two"
    assert "content.done" in [event.type for event in found]
    assert final.choices[0].message.content == "one two"


@check
def tools() -> None:
    question = user("call get_weather for Bern")
    first = CLIENT.chat.completions.create(model=MODEL, messages=question, tools=[WEATHER])
    (call,) = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "simulated", "unit": "c"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
    messages = [*question, first.choices[0].message, result]
    second = CLIENT.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER])
    assert "22 degrees" in second.choices[0].message.content


@check
def tools_forced_and_forbidden() -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice, called in ((named, True), ("required", True), ("none", False)):
        answer = CLIENT.chat.completions.create(
            model=MODEL, messages=user("get_weather?" if not called else "hi"), tools=[WEATHER], tool_choice=choice
        )
        assert bool(answer.choices[0].message.tool_calls) is called


@check
def tools_streamed() -> None:
    with CLIENT.chat.completions.stream(model=MODEL, messages=user("get_weather now"), tools=[WEATHER]) as events:
        deltas = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
        final = events.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert "".join(event.arguments_delta for event in deltas) == call.function.arguments
    assert call.function.parsed_arguments == {"city": "simulated", "unit": "c"}


@check
def structured_output() -> None:
    answer = CLIENT.chat.completions.parse(model=MODEL, messages=user("a city"), response_format=City)
    assert answer.choices[0].message.parsed == City(name="simulated", people=1, rivers=["simulated"])


@check
def structured_output_streamed() -> None:
    with CLIENT.chat.completions.stream(model=MODEL, messages=user("a city"), response_format=City) as events:
        final = events.get_final_completion()
    assert final.choices[0].message.parsed.rivers == ["simulated"]


@check
def json_mode() -> None:
    answer = CLIENT.chat.completions.create(
        model=MODEL, messages=user("some json"), response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content) == {"simulated": True}


@check
def parse_cut_short() -> None:
    asked = {"model": MODEL, "messages": user("a city"), "max_tokens": 2}
    error = raised(openai.LengthFinishReasonError, lambda: CLIENT.chat.completions.parse(**asked, response_format=City))
    assert error.completion.usage.completion_tokens == 2


@check
def several_choices_and_logprobs() -> None:
    answer = CLIENT.chat.completions.create(
        model=MODEL, messages=user("[[say:one two]]"), n=2, logprobs=True, top_logprobs=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    tokens = answer.choices[1].logprobs.content
    assert "".join(each.token for each in tokens) == "one two"
    assert all(len(each.top_logprobs) == 2 for each in tokens)


@check
def raw_response() -> None:
    raw = CLIENT.chat.completions.with_raw_response.create(model=MODEL, messages=user("hello"))
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-request-id"]
    assert raw.parse()._request_id == raw.headers["x-request-id"]


@check
def streaming_response() -> None:
    with CLIENT.chat.completions.with_streaming_response.create(
        model=MODEL, messages=user("[[say:one two]]"), stream=True
    ) as response:
        lines = list(response.iter_lines())
    assert response.headers["content-type"].startswith("text/event-stream")
    assert lines[-2:] in (["data: [DONE]", ""], ["", "data: [DONE]"])


@check
async def asynchronous() -> None:
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=user("[[say:one two]]"), stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "one two"


@check
def text_completion() -> None:
    answer = CLIENT.completions.create(model=MODEL, prompt="[[say:one two]]", logprobs=1)
    assert answer.choices[0].text == "one two"
    assert "".join(answer.choices[0].logprobs.tokens) == "one two"


@check
def text_completion_streamed() -> None:
    options = {"include_usage": True}
    chunks = list(CLIENT.completions.create(model=MODEL, prompt="hi", stream=True, stream_options=options))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens > 0


@check
def models() -> None:
    assert MODEL in [model.id for model in CLIENT.models.list()]


main()
