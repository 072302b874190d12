import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from loadtests.bench import latency
from loadtests.bench.errors import BenchError
from loadtests.bench.openloop import Order, Result, Sample, summarize

CORE = min(os.sched_getaffinity(0))
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
Answer = Callable[[int], Awaitable[bytes]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[int]]]:
    """A server that answers the n-th request on any connection with what a function gives; None hangs up."""
    servers = []

    async def begin(answer: Answer) -> int:
        count = 0

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            while await reader.read(4096):
                count += 1
                data = await answer(count)
                writer.write(data)
                if not data or data == CLOSING:
                    break
            writer.close()

        servers.append(await asyncio.start_server(on_connection, "127.0.0.1", 0))
        return int(servers[-1].sockets[0].getsockname()[1])

    yield begin
    for server in servers:
        server.close()


async def carry_out(port: int, *, rate_per_s: int = 200, connections: int = 8) -> Result:
    order = Order(port, ("GET / HTTP/1.1\r\nhost: x\r\n\r\n",), rate_per_s, 0.5, connections, warm_up_s=0.0)
    return await asyncio.to_thread(latency.run, order, CORE)


async def test_every_request_is_sent_and_answered(serve: Callable[[Answer], Awaitable[int]]) -> None:
    async def answer(_number: int) -> bytes:
        return GOOD

    result = await carry_out(await serve(answer))
    assert (result.answered, result.failures) == (100, 0)
    assert 0 < result.latency_s["p50"] <= result.latency_s["p90"] <= result.latency_s["p99"]


async def test_a_stall_is_charged_to_the_requests_that_were_due_meanwhile(
    serve: Callable[[Answer], Awaitable[int]],
) -> None:
    async def answer(number: int) -> bytes:
        if number == 20:
            await asyncio.sleep(0.4)
        return GOOD

    result = await carry_out(await serve(answer), connections=1)
    assert result.answered == 100
    assert result.queued >= 40
    assert result.latency_s["p50"] > 0.05
    assert result.latency_s["p99"] >= 0.35


async def test_bad_answers_and_hung_up_connections_are_failures(serve: Callable[[Answer], Awaitable[int]]) -> None:
    async def answer(number: int) -> bytes:
        return {0: BUSY, 1: b""}.get(number % 10, GOOD)

    result = await carry_out(await serve(answer))
    assert (result.answered, result.failures) == (80, 20)


async def test_a_server_that_closes_after_each_answer_fails_none(serve: Callable[[Answer], Awaitable[int]]) -> None:
    async def answer(_number: int) -> bytes:
        return CLOSING

    result = await carry_out(await serve(answer), rate_per_s=50)
    assert (result.answered, result.failures) == (25, 0)


async def test_a_client_that_cannot_connect_says_so() -> None:
    with pytest.raises(BenchError, match="open-loop client failed") as raised:
        await carry_out(1)
    assert "refused" in raised.value.hint


def test_percentiles_count_from_the_end_of_the_warm_up_and_good_answers_only() -> None:
    samples = [Sample(0.5, 0.5, 9.0, queued=False, good=True)]
    samples += [Sample(1.0, 1.001, 1.0 + number / 100, queued=False, good=True) for number in range(1, 101)]
    samples += [Sample(1.0, 2.0, 5.0, queued=True, good=False)]
    result = summarize(samples, unanswered=3, counted_from_s=1.0)
    assert (result.answered, result.failures, result.queued) == (100, 4, 1)
    assert result.lag_p99_s == pytest.approx(0.001)
    assert result.latency_s == pytest.approx({"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 1.0})


def test_of_no_answers_there_are_no_percentiles() -> None:
    assert summarize([], unanswered=2, counted_from_s=0) == Result(0, 2, 0, 0.0, {})
