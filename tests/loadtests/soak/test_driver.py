"""Callers against a server whose answers are known."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Self

import pytest

from loadtests.soak.answer import Fate
from loadtests.soak.driver import Driver, Orders, drive
from loadtests.soak.plan import Mix
from loadtests.soak.tally import UNSEEN, Tally, summed

HEAD = b"HTTP/1.1 200 OK\r\nx-glidepath-attempts: 2\r\ncontent-type: application/json\r\n"


class Server:
    """Answers each request by `answer(its marker)`; counts connections and requests."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer, self.requests, self.connections = answer, 0, 0

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
                self.requests += 1
                found = self.answer(re.search(rb"\[\[say:([0-9a-f]{6})", body)[1])
                writer.write(found)
                if not found or b"chunked" in found:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def plain(marker: bytes) -> bytes:
    body = b'{"text":"%b"}' % marker
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def cut(marker: bytes) -> bytes:
    event = b'data: {"text":"%b"}\n\ndata: {"error":{}}\n\n' % marker
    return HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(event), event)


async def driven(server: Server, *, rate: float | None = 300, **mix: float) -> Tally:
    orders = Orders("r", "127.0.0.1", server.port, "key", 1, Mix(**mix), rate, 20, 0.3)
    return await Driver(orders).run()


async def test_kept_calls_share_kept_connections() -> None:
    async with Server(plain) as server:
        tally = await driven(server, stream_share=0, leave_share=0)
    assert set(tally.fates) == {Fate.WHOLE}
    assert set(tally.attempts) == {2}
    assert tally.made == server.requests > server.connections


async def test_as_many_as_allowed_ask_again_at_once() -> None:
    async with Server(plain) as server:
        tally = await driven(server, rate=None, stream_share=0, leave_share=0)
    assert set(tally.fates) == {Fate.WHOLE}
    assert tally.made > 20
    assert tally.late == 0


async def test_calls_are_left_as_planned() -> None:
    async with Server(plain) as server:
        tally = await driven(server, stream_share=0, leave_share=1)
    found = summed([tally], left=True)
    assert set(found) <= {Fate.LEFT, Fate.HALF_SENT, Fate.WHOLE}
    assert found[Fate.LEFT]
    assert found[Fate.HALF_SENT]
    assert server.requests <= tally.made - found[Fate.HALF_SENT]


async def test_a_stream_that_told_of_an_error_and_was_cut_is_told() -> None:
    async with Server(cut) as server:
        tally = await driven(server, stream_share=1, leave_share=0)
    assert set(tally.fates) == {Fate.TOLD}
    assert tally.problems == {"error event": tally.made}


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
async def test_no_answer_and_no_http_are_broken(answer: bytes) -> None:
    async with Server(lambda _: answer) as server:
        tally = await driven(server, stream_share=0, leave_share=0)
    assert set(tally.fates) == {Fate.BROKEN}
    assert set(tally.attempts) == {UNSEEN}


def test_nobody_listens() -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        tally = drive(Orders("r", "127.0.0.1", taken.getsockname()[1], "key", 1, Mix(), 100, 20, 0.1))
    assert set(tally.fates) == {Fate.NO_CONNECTION}
