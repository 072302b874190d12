"""The simulator as a process, on the event loop it has there: faults at the socket, refusing, and the control port."""

import json

import httpx2
import pytest

pytestmark = pytest.mark.system

CHAT = {"model": "simulated-partner", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def urls(command) -> tuple[str, str]:
    options = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
    process = command("simulator", "--port", "0", "--control-port", "0", *options)
    control, origin = process.shown(r"CONTROL (http://\S+)\nREADY (http://\S+)/v1").groups()
    return control, origin


def ask(origin: str, fault: dict | str, **more: object) -> httpx2.Response:
    headers = {"x-simulator-fault": fault if isinstance(fault, str) else json.dumps(fault)}
    return httpx2.post(f"{origin}/v1/chat/completions", json=CHAT | more, headers=headers, timeout=60, trust_env=False)


def test_new_connections_are_refused_while_the_control_port_answers(urls) -> None:
    control, origin = urls
    with httpx2.Client(trust_env=False, timeout=60) as operator:
        answer = operator.post(f"{control}/simulator/listener", json={"refuse_s": 600, "drop": True})
        assert answer.status_code == 200
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{origin}/health", trust_env=False)
        assert operator.get(f"{control}/simulator/stats").json()["connections"] == {"open": 0, "total": 0}


@pytest.mark.parametrize("kind", ["reset", "reset_in_head", "reset_in_body"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_reset_is_a_reset_here_too(urls, kind: str, *, stream: bool) -> None:
    with pytest.raises(httpx2.TransportError) as caught:
        ask(urls[1], kind, stream=stream)
    assert isinstance(caught.value, httpx2.ReadError)


def test_all_that_was_written_arrives_before_a_reset(urls) -> None:
    headers = {"x-simulator-fault": json.dumps({"kind": "reset_in_body", "events": 4})}
    url = f"{urls[1]}/v1/chat/completions"
    arrived: list[bytes] = []
    with (
        httpx2.Client(timeout=60, trust_env=False) as client,
        client.stream("POST", url, json=CHAT | {"stream": True}, headers=headers) as answer,
        pytest.raises(httpx2.ReadError),
    ):
        arrived.extend(answer.iter_bytes())
    assert b"".join(arrived).count(b"data: ") == 4


@pytest.mark.parametrize("kind", ["odd_chunks", "interim", "eof_body", "duplicate_headers", "close_after", "gzip"])
@pytest.mark.parametrize("stream", [True, False])
def test_unusual_but_legal_answers_say_the_same(urls, kind: str, *, stream: bool) -> None:
    found = ask(urls[1], kind, stream=stream)
    assert "This" in found.text
    assert ("[DONE]" in found.text) is stream
