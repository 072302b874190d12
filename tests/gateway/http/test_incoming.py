"""One request's answer: how it is framed, how it ends, and what its listener is told."""

import asyncio

import pytest

from gateway.http.incoming import Incoming, status_line

TYPE = b"content-type: text/plain\r\n"


async def test_an_answer_of_known_length_is_not_chunked(serve) -> None:
    def answer_in_parts(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"one", length=9)
        incoming.send(b"two")
        incoming.send(b"")
        incoming.finish(b"end")

    caller = await (await serve(answer_in_parts)).caller()
    caller.post(b"")
    answer = await caller.answer()
    assert (answer.body, answer.headers["content-length"]) == (b"onetwoend", "9")


async def test_an_aborted_answer_can_be_told_from_a_whole_one(serve) -> None:
    def break_off(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"begun")
        incoming.abort()
        incoming.finish()

    caller = await (await serve(break_off)).caller()
    caller.post(b"")
    answer = await caller.answer()
    assert (answer.body, answer.whole) == (b"begun", False)


async def test_an_old_client_gets_no_chunks(serve) -> None:
    def stream(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"one ")
        incoming.finish(b"two")

    caller = await (await serve(stream)).caller()
    caller.send(b"POST /v1/completions HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
    status, headers = await caller.head()
    assert (status, headers.get("transfer-encoding")) == (200, None)
    assert await caller.rest() == b"one two"


async def test_the_default_headers_are_sent_and_follow_their_change(serve, echo) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    for date in (b"then", b"now"):
        gateway.state.default_headers = [(b"date", date)]
        caller.post(b"")
        assert (await caller.answer()).headers["date"] == date.decode()


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_caller_that_goes_is_noticed(serve, until, how: str, accepted, *, begun: bool) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    if begun:
        accepted[0].begin(200, TYPE, b"begun")
        await caller.head()
    if how == "fin":
        await caller.close()
    else:
        caller.reset()
    await until(lambda: accepted.listeners[0].gone == 1)
    assert accepted[0].disconnected
    accepted[0].send(b"to nobody")
    accepted[0].finish()
    accepted[0].respond(200, TYPE, b"to nobody")
    accepted[0].begin(200, TYPE, b"to nobody")
    accepted[0].abort()
    await until(lambda: not gateway.connections)


async def test_a_slow_caller_blocks_and_unblocks_its_listener(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    incoming, listener = accepted[0], accepted.listeners[0]
    incoming.begin(200, TYPE, b"begun")
    sent = 0
    while not listener.blocked:
        incoming.send(b"y" * 65_536)
        sent += 65_536
        await asyncio.sleep(0)
        assert sent < 1 << 28
    assert not listener.ready
    incoming.finish()
    answer = await caller.answer()
    assert len(answer.body) == sent + len(b"begun")


async def test_a_listener_is_told_when_the_caller_reads_on(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b"x")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"z" * (1 << 26))
    await until(lambda: accepted.listeners[0].blocked)
    await caller.head()
    assert len(await caller.chunk()) == 1 << 26
    await until(lambda: accepted.listeners[0].ready == accepted.listeners[0].blocked)


def test_status_lines() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(418) == b"HTTP/1.1 418 \r\n"
