"""Who stands in line, on whose attempt to connect, and how the line ends."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter

import pytest

from gateway.core.outcome import Phase


@pytest.fixture
def black_hole(stack) -> Callable[[], int]:
    """A port that never answers: a listener whose queue is full; Linux leaves further connections unanswered."""

    def make() -> int:
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
        return listener.getsockname()[1]

    return make


@pytest.fixture
def holding(upstream):
    """An upstream that answers a connection's requests when its turn has come: `go(n)` answers n more."""

    async def start(answer: bytes):
        turns = asyncio.Semaphore(0)

        async def hold(peer) -> None:
            while True:
                server.requests.append(await peer.request())
                await turns.acquire()
                peer.send(answer)

        server = await upstream(hold)
        server.go = lambda count=1: [turns.release() for _ in range(count)]
        return server

    return start


async def test_who_waits_too_long_is_told_so_and_the_others_wait_on(holding, pool_to, wire, until, ask) -> None:
    server = await holding(wire.plain(b"ok"))
    pool = pool_to(server.port, connections_max=1, queue_timeout_s=10)
    first, second = ask(pool)[0], ask(pool)[0]
    await until(lambda: server.requests)
    pool.sweep(perf_counter() + 9)
    assert pool.counts == (0, 1, 1)
    pool.sweep(perf_counter() + 11)
    failure = await second.broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "queue_timeout")
    assert pool.counts == (0, 1, 0)
    server.go()
    assert (await first.end()).body == b"ok"


async def test_whoever_leaves_is_out_of_the_line_at_once(holding, pool_to, wire, until, ask) -> None:
    server = await holding(wire.plain(b"ok"))
    pool = pool_to(server.port, connections_max=1, waiting_max=3)
    first = ask(pool)[0]
    await until(lambda: server.requests)
    for _ in range(20):
        leaving = [ask(pool)[1] for _ in range(3)]
        assert pool.counts == (0, 1, 3)
        for lease in leaving[::-1]:
            lease.cancel()
        assert pool.counts == (0, 1, 0)
    server.go()
    await first.end()
    assert len(server.requests) == 1


async def test_nobody_waits_for_the_attempt_of_one_who_left(*, black_hole, upstream, pool_to, wire, until, ask) -> None:
    pool = pool_to(black_hole(), connections_max=1, connect_s=20)
    heard, lease = ask(pool)
    other, _ = ask(pool)
    assert (pool.counts, pool.connecting) == ((0, 0, 2), 1)
    server = await upstream(wire.plain(b"ok"))
    pool._dialer._peer = ("127.0.0.1", server.port)
    lease.cancel()
    # The second one's own attempt, which had no room before.
    assert (await other.end()).body == b"ok"
    assert heard.failure is None
    await until(lambda: (pool.counts, pool.connecting) == ((1, 0, 0), 0))


async def test_a_failed_attempt_fails_the_one_it_was_made_for(*, black_hole, pool_to, until, ask, unused_port) -> None:
    pool = pool_to(black_hole())
    first, lease = ask(pool)
    await until(lambda: pool.connecting)
    await asyncio.sleep(0.05)  # the first one's attempt is on its way
    pool._dialer._peer = ("127.0.0.1", unused_port)
    second, _ = ask(pool)
    assert (await second.broke()).kind == "refused"
    assert first.failure is None
    assert (pool.counts, pool.connecting) == ((0, 0, 1), 1)
    lease.cancel()
    assert (pool.counts, pool.connecting) == ((0, 0, 0), 0)


async def test_an_attempt_whose_caller_was_served_otherwise_fails_nobody(
    *, black_hole, holding, pool_to, wire, until, ask
) -> None:
    server = await holding(wire.plain(b"ok"))
    pool = pool_to(server.port, connections_max=2, connect_s=0.3)
    busy = ask(pool)[0]
    await until(lambda: server.requests)
    pool._dialer._peer = ("127.0.0.1", black_hole())
    served, patient = ask(pool)[0], ask(pool)[0]
    assert (pool.counts, pool.connecting) == ((0, 1, 2), 1)
    server.go(1)
    await busy.end()
    await until(lambda: len(server.requests) == 2)
    # `patient` counts on the attempt that was made for `served`; when it fails, one of its own is made.
    assert (pool.counts, pool.connecting) == ((0, 1, 1), 1)
    (spare,) = pool._attempts
    await until(lambda: spare not in pool._attempts)
    assert patient.failure is None
    assert pool.connecting == 1
    pool._dialer._peer = ("127.0.0.1", server.port)
    server.go(1)
    assert (await served.end()).body == b"ok"
    server.go(1)
    assert (await patient.end()).body == b"ok"


async def test_a_spare_attempt_makes_room_for_one_that_is_needed(
    *, black_hole, holding, pool_to, wire, until, ask
) -> None:
    server = await holding(wire.plain(b"ok"))
    pool = pool_to(server.port, connections_max=2, connect_s=20)
    first = ask(pool)[0]
    await until(lambda: server.requests)
    pool._dialer._peer = ("127.0.0.1", black_hole())
    second = ask(pool)[0]
    server.go(1)
    await first.end()
    await until(lambda: len(server.requests) == 2)
    assert (pool.counts, pool.connecting) == ((0, 1, 0), 1)
    pool._dialer._peer = ("127.0.0.1", server.port)
    third = ask(pool)[0]
    assert pool.connecting == 1
    await until(lambda: len(server.requests) == 3)
    server.go(2)
    await second.end()
    await third.end()
    assert (pool.counts, pool.connecting) == ((2, 0, 0), 0)


async def test_a_connection_closed_before_it_was_used_is_not_counted_as_open(upstream, pool_to, until, ask) -> None:
    async def slam(peer) -> None:
        peer.reset()

    server = await upstream(slam)
    pool = pool_to(server.port)
    heard = [ask(pool)[0] for _ in range(50)]
    for each in heard:
        assert (await each.broke()).kind in {"reset", "refused"}
    await until(lambda: (pool.counts, pool.connecting) == ((0, 0, 0), 0))


async def test_a_closed_pool_takes_nothing(pool_to, unused_port, ask) -> None:
    pool = pool_to(unused_port)
    pool.close()
    failure = await ask(pool)[0].broke()
    assert (failure.phase, failure.kind) == (Phase.CONNECT, "closed")
