import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from serving.preflight import free_port
from serving.probe import Probe
from serving.spec import ModelSpec

Answers = dict[str, tuple[int, str]]
Serving = Callable[[Answers], AbstractAsyncContextManager[Probe]]

MODELS = '{"data": [{"id": "m"}]}'
METRICS = (
    "# HELP vllm:num_requests_running x\n"
    'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n'
    'vllm:num_requests_running{engine="1",model_name="m"} 1.0\n'
    'vllm:num_requests_waiting{engine="0",model_name="m"} 4.0\n'
    'vllm:num_requests_waiting_by_reason{reason="capacity"} 9.0\n'
)


@pytest.fixture
def serving() -> Serving:
    """Serve fixed answers by path over real HTTP, and ask them through a probe."""

    @asynccontextmanager
    async def serve(answers: Answers) -> AsyncIterator[Probe]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, body = answers.get(request.split()[1], (404, ""))
            head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            writer.write((head + body).encode())
            await writer.drain()
            writer.close()

        spec = ModelSpec(model="/m", served_name="m", port=free_port("127.0.0.1"))
        async with await asyncio.start_server(answer, spec.host, spec.port), Probe(spec, timeout_s=5.0) as probe:
            yield probe

    return serve


async def test_answering_needs_health_and_the_served_name(serving: Serving) -> None:
    cases: list[tuple[Answers, bool]] = [
        ({"/health": (200, ""), "/v1/models": (200, MODELS)}, True),
        ({"/health": (503, ""), "/v1/models": (200, MODELS)}, False),
        ({"/health": (200, ""), "/v1/models": (200, '{"data": [{"id": "other"}]}')}, False),
        ({"/health": (200, ""), "/v1/models": (200, "not json")}, False),
        ({"/health": (200, ""), "/v1/models": (200, "[]")}, False),
        ({"/health": (200, "")}, False),
    ]
    for answers, expected in cases:
        async with serving(answers) as probe:
            assert await probe.is_answering() is expected, answers


async def test_a_warm_up_is_a_token(serving: Serving) -> None:
    cases = [
        ((200, '{"usage": {"completion_tokens": 4}}'), ""),
        ((200, '{"usage": {"completion_tokens": 0}}'), "no token"),
        ((200, "{}"), "no token"),
        ((500, "broken"), "HTTP 500: broken"),
    ]
    for answer, expected in cases:
        async with serving({"/v1/completions": answer}) as probe:
            assert await probe.warm_up() == expected


async def test_unfinished_requests_are_running_and_waiting_over_all_engines(serving: Serving) -> None:
    async with serving({"/metrics": (200, METRICS)}) as probe:
        assert await probe.unfinished_requests() == 7
    async with serving({"/metrics": (200, "# nothing\n")}) as probe:
        assert await probe.unfinished_requests() is None


async def test_nobody_there_is_not_healthy_and_no_exception() -> None:
    async with Probe(ModelSpec(model="/m", served_name="m", port=free_port("127.0.0.1"))) as probe:
        assert not await probe.is_healthy()
        assert not await probe.is_answering()
        assert "ConnectError" in await probe.warm_up()
        assert await probe.unfinished_requests() is None
