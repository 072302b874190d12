import json

from loadtests.bench.workloads import MODEL, STREAM_EVENTS, non_stream, stream


def test_the_plain_request_is_1_kb_and_its_answer_half() -> None:
    workload = non_stream()
    assert 900 <= len(workload.body) <= 1_100
    assert 450 <= len(workload.answer) <= 600
    assert json.loads(workload.body)["model"] == MODEL
    assert json.loads(workload.answer)["usage"]["total_tokens"] == 150


def test_the_stream_has_64_content_events_a_finish_and_a_done() -> None:
    workload = stream()
    assert json.loads(workload.body)["stream"] is True
    events = [event.removeprefix("data: ") for event in workload.answer.split("\n\n") if event]
    chunks = [json.loads(event)["choices"][0] for event in events[:-1]]
    assert events[-1] == "[DONE]"
    assert sum(bool(chunk["delta"].get("content")) for chunk in chunks) == STREAM_EVENTS
    assert [chunk["finish_reason"] for chunk in chunks][-1] == "stop"
