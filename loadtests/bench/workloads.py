"""What is sent and what the constant upstream answers."""

from __future__ import annotations

import json
from typing import NamedTuple

MODEL = "copilot/summarize"
STREAM_EVENTS = 64


class Workload(NamedTuple):
    """One kind of request. `answer` is the upstream's constant body."""

    name: str
    body: str
    answer: str
    content_type: str


def non_stream() -> Workload:
    """1 KB request, 0.5 KB answer."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x" * 280}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }
    return Workload("non-stream", _request(stream=False), json.dumps(answer), "application/json")


def stream() -> Workload:
    """1 KB request, a stream of 64 content events, finish and [DONE]."""
    events = [_chunk({"role": "assistant", "content": ""}, None)]
    events += [_chunk({"content": f"word{index:02d} "}, None) for index in range(STREAM_EVENTS)]
    events.append(_chunk({}, "stop"))
    text = "".join(f"data: {event}\n\n" for event in events) + "data: [DONE]\n\n"
    return Workload("stream of 64 events", _request(stream=True), text, "text/event-stream")


def _request(*, stream: bool) -> str:
    messages = [{"role": "system", "content": "You are"}, {"role": "user", "content": "x" * 800}]
    return json.dumps({"model": MODEL, "messages": messages, "max_tokens": 64, "user": "u-1", "stream": stream})


def _chunk(delta: dict[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return json.dumps({**head, "choices": [choice]})
