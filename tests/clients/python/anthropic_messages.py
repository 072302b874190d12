"""The Messages API with the official anthropic package."""

from __future__ import annotations

import anthropic
import pydantic
from checks import API_KEY, BASE_URL, MODEL, check, main

# The package adds /v1 itself.
ORIGIN = BASE_URL.removesuffix("/v1")
CLIENT = anthropic.Anthropic(base_url=ORIGIN, api_key=API_KEY, max_retries=0, timeout=30)
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = WEATHER | {"name": "get_time"}


class City(pydantic.BaseModel):
    name: str
    people: int


def user(text: str) -> dict:
    return {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": text}]}


@check
def plain() -> None:
    answer = CLIENT.messages.create(**user("[[say:Grüße 🌍!]]"), system="be brief")
    assert (answer.content[0].text, answer.stop_reason) == ("Grüße 🌍!", "end_turn")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer._request_id


@check
def token_limit() -> None:
    answer = CLIENT.messages.create(**user("say something") | {"max_tokens": 2})
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 2)


@check
def stream() -> None:
    events = list(CLIENT.messages.create(**user("[[say:one two]]"), stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@check
def stream_helper() -> None:
    with CLIENT.messages.stream(**user("[[say:Grüße 🌍!]]")) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    assert text == final.content[0].text == "Grüße 🌍!"
    assert final.usage.output_tokens > 0
    assert final.stop_reason == "end_turn"


@check
async def asynchronous() -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=ORIGIN, api_key=API_KEY, max_retries=0) as client,
        client.messages.stream(**user("[[say:one two]]")) as events,
    ):
        assert "".join([text async for text in events.text_stream]) == "one two"


@check
def tools() -> None:
    question = user("call get_weather")
    first = CLIENT.messages.create(**question, tools=[WEATHER])
    (block,) = first.content
    assert (first.stop_reason, block.name, block.input) == ("tool_use", "get_weather", {"city": "simulated"})
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "22 degrees"}
    messages = [
        *question["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = CLIENT.messages.create(**question | {"messages": messages}, tools=[WEATHER])
    assert "22 degrees" in second.content[0].text


@check
def tools_forced_and_forbidden() -> None:
    choices = ((("any", {}), 1), (("tool", {"name": "get_time"}), 1), (("none", {}), 0))
    for (kind, more), count in choices:
        answer = CLIENT.messages.create(**user("hello"), tools=[WEATHER, TIME], tool_choice={"type": kind, **more})
        assert sum(block.type == "tool_use" for block in answer.content) == count


@check
def tools_streamed() -> None:
    with CLIENT.messages.stream(**user("get_weather and get_time"), tools=[WEATHER, TIME]) as events:
        parts = [event.partial_json for event in events if event.type == "input_json"]
        final = events.get_final_message()
    assert [block.input for block in final.content] == [{"city": "simulated"}] * 2
    assert "".join(parts) == '{"city":"simulated"}' * 2


@check
def tool_runner() -> None:
    asked = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        asked.append(city)
        return "22 degrees"

    runner = CLIENT.beta.messages.tool_runner(**user("call get_weather"), tools=[get_weather])
    final = runner.until_done()
    assert asked == ["simulated"]
    assert "22 degrees" in final.content[0].text


@check
def structured_output() -> None:
    answer = CLIENT.messages.parse(**user("a city"), output_format=City)
    assert answer.parsed_output == City(name="simulated", people=1)


@check
def structured_output_streamed() -> None:
    with CLIENT.messages.stream(**user("a city"), output_format=City) as events:
        final = events.get_final_message()
    assert final.parsed_output == City(name="simulated", people=1)


@check
def raw_response() -> None:
    raw = CLIENT.messages.with_raw_response.create(**user("hi"))
    assert raw.headers["request-id"] or raw.headers["x-request-id"]
    assert raw.parse().content[0].text


main()
