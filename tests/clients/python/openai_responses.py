"""The Responses API with the official openai package."""

from __future__ import annotations

import json

import openai
import pydantic
from checks import API_KEY, BASE_URL, MODEL, check, faulty, main, raised

CLIENT = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0, timeout=30)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME = WEATHER | {"name": "get_time"}


class City(pydantic.BaseModel):
    name: str
    people: int


@check
def plain() -> None:
    answer = CLIENT.responses.create(model=MODEL, input="[[say:Grüße 🌍!]]", instructions="be brief")
    assert (answer.output_text, answer.status) == ("Grüße 🌍!", "completed")
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.instructions == "be brief"


@check
def input_items_metadata_and_token_limit() -> None:
    items = [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    answer = CLIENT.responses.create(model=MODEL, input=items, max_output_tokens=2, metadata={"a": "b"})
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.metadata == {"a": "b"}


@check
def stream_in_the_official_order() -> None:
    events = list(CLIENT.responses.create(model=MODEL, input="[[say:one two]]", stream=True))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert events[-1].response.output_text == "one two"


@check
def stream_helper() -> None:
    with CLIENT.responses.stream(model=MODEL, input="[[say:one two]]") as events:
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        final = events.get_final_response()
    assert text == final.output_text == "one two"


@check
async def asynchronous() -> None:
    async with (
        openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as client,
        client.responses.stream(model=MODEL, input="[[say:one two]]") as events,
    ):
        final = await events.get_final_response()
        assert final.output_text == "one two"


@check
def tools() -> None:
    first = CLIENT.responses.create(model=MODEL, input="call get_weather", tools=[WEATHER])
    (call,) = first.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "simulated"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    second = CLIENT.responses.create(model=MODEL, input=[result], previous_response_id=first.id, tools=[WEATHER])
    assert "22 degrees" in second.output_text


@check
def tools_streamed() -> None:
    with CLIENT.responses.stream(model=MODEL, input="get_weather and get_time", tools=[WEATHER, TIME]) as events:
        done = [event for event in events if event.type == "response.function_call_arguments.done"]
        final = events.get_final_response()
    assert [item.name for item in final.output] == ["get_weather", "get_time"]
    assert [event.arguments for event in done] == [item.arguments for item in final.output]
    assert final.output[0].parsed_arguments == {"city": "simulated"}


@check
def structured_output() -> None:
    answer = CLIENT.responses.parse(model=MODEL, input="a city", text_format=City)
    assert answer.output_parsed == City(name="simulated", people=1)


@check
def structured_output_streamed() -> None:
    with CLIENT.responses.stream(model=MODEL, input="a city", text_format=City) as events:
        final = events.get_final_response()
    assert final.output_parsed == City(name="simulated", people=1)


@check
def a_conversation_goes_on() -> None:
    first = CLIENT.responses.create(model=MODEL, input="hello")
    second = CLIENT.responses.create(model=MODEL, input="and more", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.total_tokens


@check
def an_unknown_previous_answer() -> None:
    error = raised(
        openai.BadRequestError,
        lambda: CLIENT.responses.create(model=MODEL, input="hi", previous_response_id="resp_unknown"),
    )
    assert error.code == "previous_response_not_found"


@check
def raw_response() -> None:
    raw = CLIENT.responses.with_raw_response.create(model=MODEL, input="hi")
    assert raw.headers["x-request-id"]
    assert raw.parse().output_text


@check
def an_error_event_is_an_error() -> None:
    stream = CLIENT.responses.create(model=MODEL, input=faulty("error_event", events=5, status=500), stream=True)
    try:
        events = list(stream)
    except openai.APIError:
        return
    assert events[-1].type == "error"


@check
def a_cut_stream_is_an_error() -> None:
    stream = CLIENT.responses.create(model=MODEL, input=faulty("cut_stream", events=5), stream=True)
    try:
        events = list(stream)
    except Exception:  # noqa: BLE001  the package lets the transport's own error through
        return
    assert events[-1].type == "error"


main()
