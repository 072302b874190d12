"""Who waits, who is idle, when to connect: the pool against a scripted server."""

import asyncio
import socket
from contextlib import suppress
from time import perf_counter

import pytest

from gateway.core.outcome import Phase


async def test_a_connection_is_used_again(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.plain(b"ok"))
    pool = pool_to(server.port)
    for _ in range(5):
        await answered(pool)
    assert server.connections == 1
    assert pool.counts == (1, 0, 0)


async def test_the_last_idle_is_the_first_used(upstream, pool_to, wire, until, answered) -> None:
    server = await upstream(wire.plain(b"ok"))
    pool = pool_to(server.port)
    await asyncio.gather(*(answered(pool) for _ in range(3)))
    # Who was served by a connection that was given back leaves one in the making, which becomes idle.
    await until(lambda: pool.counts == (3, 0, 0))
    await answered(pool)
    assert pool.counts == (3, 0, 0)
    assert server.connections == 3


async def test_no_more_connections_than_allowed_and_who_waits_is_served_in_turn(
    upstream, pool_to, wire, until, answered
) -> None:
    held = asyncio.Event()

    async def hold(peer) -> None:
        while True:
            server.requests.append(await peer.request())
            await held.wait()
            peer.send(wire.plain(server.requests[-1].body))

    server = await upstream(hold)
    pool = pool_to(server.port, connections_max=1)
    order: list[bytes] = []

    async def one(number: int) -> None:
        order.append((await answered(pool, b"%d" % number)).body)

    tasks = [asyncio.create_task(one(number)) for number in range(6)]
    await until(lambda: pool.counts == (0, 1, 5))
    held.set()
    await asyncio.gather(*tasks)
    assert order == [b"%d" % number for number in range(6)]
    assert server.connections == 1


async def test_a_waiting_request_is_served_by_a_new_connection_when_one_breaks(upstream, pool_to, wire, ask) -> None:
    async def break_first(peer) -> None:
        await peer.request()
        if peer.number == 1:
            peer.reset()
        else:
            peer.send(wire.plain(b"ok"))
            await peer.gone()

    server = await upstream(break_first)
    pool = pool_to(server.port, connections_max=1)
    first, second = ask(pool)[0], ask(pool)[0]
    failure = await first.broke()
    assert (failure.phase, failure.kind) == (Phase.FIRST_BYTE, "reset")
    assert (await second.end()).body == b"ok"


async def test_a_full_queue_refuses_but_not_before_the_call_has_returned(upstream, pool_to, ask) -> None:
    async def hold(peer) -> None:
        await peer.request()
        await peer.gone()

    server = await upstream(hold)
    pool = pool_to(server.port, connections_max=1, waiting_max=2)
    # One for whom a connection is being made, and two in line.
    waiting = [ask(pool)[0] for _ in range(3)]
    refused, _ = ask(pool)
    assert refused.failure is None
    failure = await refused.broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "queue_full")
    assert all(heard.failure is None for heard in waiting)


async def test_nobody_listens(pool_to, ask, unused_port: int) -> None:
    pool = pool_to(unused_port)
    heard = [ask(pool)[0] for _ in range(3)]
    for each in heard:
        failure = await each.broke()
        assert (failure.phase, failure.kind) == (Phase.CONNECT, "refused")
    assert pool.counts == (0, 0, 0)


@pytest.mark.parametrize(
    "host",
    [
        "no-such-host.invalid",
        "a..b",
        "x" * 70,
    ],
)
async def test_a_host_that_has_no_address_fails_the_request(pool_to, answered, host: str) -> None:
    failure = await (await answered(pool_to(80, host, connect_s=10))).broke()
    assert failure.phase is Phase.CONNECT


async def test_a_connection_that_never_comes_about_times_out(stack, pool_to, answered) -> None:
    # A listener whose queue is full: Linux leaves further connections unanswered.
    listener = socket.socket()
    stack.callback(listener.close)
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        stack.callback(filler.close)
        with suppress(BlockingIOError):
            filler.connect(listener.getsockname())
    failure = await (await answered(pool_to(listener.getsockname()[1], connect_s=0.05))).broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "connect_timeout")


async def test_a_cancelled_request_in_line_is_never_sent(upstream, pool_to, wire, until, ask) -> None:
    go = asyncio.Event()

    async def one_by_one(peer) -> None:
        while True:
            server.requests.append(await peer.request())
            await go.wait()
            peer.send(wire.plain(b"ok"))

    server = await upstream(one_by_one)
    pool = pool_to(server.port, connections_max=1)
    first, (_, dropped), last = ask(pool, b"1")[0], ask(pool, b"2"), ask(pool, b"3")[0]
    await until(lambda: server.requests)
    dropped.cancel()
    go.set()
    await first.end()
    await last.end()
    assert [request.body for request in server.requests] == [b"1", b"3"]


async def test_idle_connections_expire(upstream, pool_to, wire, until, answered) -> None:
    server = await upstream(wire.plain(b"ok"))
    pool = pool_to(server.port, idle_s=4.0)
    await answered(pool)
    pool.sweep(perf_counter() + 3.0)
    assert pool.counts == (1, 0, 0)
    pool.sweep(perf_counter() + 5.0)
    await until(lambda: pool.counts == (0, 0, 0) and not server.open)
    assert (await answered(pool)).body == b"ok"


async def test_an_idle_connection_that_the_server_closes_is_forgotten(upstream, pool_to, wire, until, answered) -> None:
    async def once(peer) -> None:
        await peer.request()
        peer.send(wire.plain(b"ok"))
        peer.close()

    server = await upstream(once)
    pool = pool_to(server.port)
    await answered(pool)
    await until(lambda: pool.counts == (0, 0, 0))
    assert (await answered(pool)).body == b"ok"
    assert server.connections == 2


async def test_closing_fails_who_waits_and_closes_all(upstream, pool_to, wire, until, ask) -> None:
    async def hold(peer) -> None:
        server.requests.append(await peer.request())
        await peer.request()

    server = await upstream(hold)
    pool = pool_to(server.port, connections_max=1)
    ask(pool)
    waiting, _ = ask(pool)
    await until(lambda: server.requests)
    pool.close()
    failure = await waiting.broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "closed")
    await until(lambda: server.left == [1] and pool.counts == (0, 0, 0))


async def test_a_hundred_at_once_through_ten(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.plain(b"ok"))
    pool = pool_to(server.port, connections_max=10)
    heard = await asyncio.gather(*(answered(pool, b"%d" % n) for n in range(100)))
    assert all(each.complete and each.body == b"ok" for each in heard)
    assert server.connections <= 10
    assert len(server.requests) == 100
    assert pool.counts[1:] == (0, 0)
