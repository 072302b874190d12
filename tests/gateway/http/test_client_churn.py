"""A thousand requests, cancels and breaks in any order: every count returns to 0."""

import asyncio
import random
from time import perf_counter

import pytest


@pytest.fixture
def moody(wire):
    """Make the script of an upstream that answers, hangs, breaks off, says too much or closes, as chance has it."""

    async def reset(peer) -> None:
        peer.reset()

    async def hang(peer) -> None:
        peer.send(wire.stream_head + wire.chunk(b"begun"))
        await peer.gone()

    async def say_too_much(peer) -> None:
        peer.send(wire.plain(b"ok") + b"surplus")

    async def close(peer) -> None:
        peer.send(wire.plain(b"ok"))
        peer.close()

    async def close_later(peer) -> None:
        await asyncio.sleep(0.005)
        peer.send(wire.plain(b"ok", "200 OK", "connection: close"))

    async def answer(peer) -> None:
        peer.send(wire.plain(b"ok"))

    moods = [reset, hang, say_too_much, close, close_later, *[answer] * 5]

    def make(chance: random.Random):
        async def serve(peer) -> None:
            while True:
                await peer.request()
                await chance.choice(moods)(peer)

        return serve

    return make


@pytest.mark.parametrize("seed", range(4))
async def test_any_interleaving_of_requests_cancels_and_breaks_leaves_nothing(
    *, upstream, moody, pool_to, until, ask, seed: int
) -> None:
    chance = random.Random(seed)
    server = await upstream(moody(chance))
    pool = pool_to(server.port, connections_max=20, waiting_max=60)
    asked = []
    for number in range(1_000):
        heard, lease = ask(pool, b"%d" % number)
        asked.append((heard, lease))
        if chance.random() < 0.3:
            _, victim = chance.choice(asked[-50:])
            victim.cancel()
        if chance.random() < 0.2:
            await asyncio.sleep(chance.choice([0, 0, 0.001, 0.003]))
        idle, busy, waiting = pool.counts
        assert min(idle, busy, waiting, pool.connecting) >= 0
        assert idle + busy + pool.connecting <= 20
    # Those whose answer hangs in the upstream, who hold up the rest of the line, leave as a deadline would make them.
    for heard, lease in asked:
        await until(lambda heard=heard, lease=lease: heard.ended.is_set() or lease.cancelled or heard.body == b"begun")
        if not heard.ended.is_set():
            lease.cancel()
    await until(lambda: pool.counts[1:] == (0, 0) and pool.connecting == 0)
    assert (len(pool._waiting), len(pool._unattended), len(pool._spare)) == (0, 0, 0)
    pool.sweep(perf_counter() + 60)
    await until(lambda: pool.counts == (0, 0, 0) and server.open == 0)
    for heard, lease in asked:
        assert not heard.told_after_end
        assert (lease.connection, lease.queue, lease.attempt) == (None, None, None)
        assert heard.ended.is_set() or lease.cancelled
