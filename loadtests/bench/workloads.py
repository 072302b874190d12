"""What is sent and what the constant upstream answers."""

from __future__ import annotations

import json
from typing import NamedTuple

PATH = "/v1/chat/completions"
MODEL = "copilot/summarize"
STREAM_EVENTS = 64
USERS = tuple(f"u-{number:02d}" for number in range(16))
_USER = "u-?"


class Workload(NamedTuple):
    """One kind of request. `answer` is the upstream's constant body."""

    name: str
    template: str
    answer: str
    content_type: str

    @property
    def parts(self) -> tuple[str, str]:
        """The body before and behind the user's name."""
        head, _, tail = self.template.partition(_USER)
        return head, tail

    def body(self, user: str) -> str:
        """The request of one user. Users take turns, so that both arms are in what is measured."""
        return user.join(self.parts)


def plain(kilobytes: int) -> Workload:
    """A request of so many KB, a JSON answer of 0.5 KB."""
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
    return Workload(
        f"{kilobytes} KB request", _request(kilobytes, stream=False), json.dumps(answer), "application/json"
    )


def stream() -> Workload:
    """1 KB request, a stream of 64 content events, finish and [DONE]."""
    events = [_chunk({"role": "assistant", "content": ""}, None)]
    events += [_chunk({"content": f"word{index:02d} "}, None) for index in range(STREAM_EVENTS)]
    events.append(_chunk({}, "stop"))
    text = "".join(f"data: {event}\n\n" for event in events) + "data: [DONE]\n\n"
    return Workload(f"stream of {STREAM_EVENTS} events", _request(1, stream=True), text, "text/event-stream")


def paced() -> Workload:
    """The same request; the answer's events come one by one, from `paced_upstream`."""
    return stream()._replace(name=f"paced stream of {STREAM_EVENTS} events")


def request_bytes(workload: Workload, user: str, port: int, key: str) -> bytes:
    """A whole HTTP/1.1 request, for clients that write sockets themselves."""
    body = workload.body(user).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _request(kilobytes: int, *, stream: bool) -> str:
    def text(filling: int) -> str:
        messages = [{"role": "system", "content": "You are"}, {"role": "user", "content": "x" * filling}]
        return json.dumps({"model": MODEL, "messages": messages, "max_tokens": 64, "user": _USER, "stream": stream})

    return text(kilobytes * 1_000 - len(text(0)))


def _chunk(delta: dict[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return json.dumps({**head, "choices": [choice]})
