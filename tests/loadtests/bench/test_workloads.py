import json

import pytest

from loadtests.bench.workloads import MODEL, STREAM_EVENTS, USERS, plain, request_bytes, stream


@pytest.mark.parametrize("kilobytes", [1, 10, 100])
def test_a_plain_request_is_as_large_as_it_says_and_its_answer_half_a_kb(kilobytes: int) -> None:
    workload = plain(kilobytes)
    assert len(workload.body(USERS[0])) == kilobytes * 1_000 + 1
    assert 450 <= len(workload.answer) <= 600
    assert json.loads(workload.body("u-1"))["model"] == MODEL
    assert json.loads(workload.answer)["usage"]["total_tokens"] == 150


def test_users_are_told_apart_in_the_body() -> None:
    assert len({plain(1).body(user) for user in USERS}) == len(USERS) == 16
    assert json.loads(plain(1).body("u-07"))["user"] == "u-07"


def test_the_stream_has_64_content_events_a_finish_and_a_done() -> None:
    workload = stream()
    assert json.loads(workload.body("u"))["stream"] is True
    events = [event.removeprefix("data: ") for event in workload.answer.split("\n\n") if event]
    chunks = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert sum(bool(chunk["delta"].get("content")) for chunk in chunks) == STREAM_EVENTS
    assert [chunk["finish_reason"] for chunk in chunks][-1] == "stop"


def test_a_whole_request_says_its_length_and_key() -> None:
    head, _, body = request_bytes(plain(1), "u-03", 81, "secret").partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert lines[1:] == [
        "host: 127.0.0.1:81",
        "content-type: application/json",
        "authorization: Bearer secret",
        f"content-length: {len(body)}",
    ]
    assert body.decode() == plain(1).body("u-03")
