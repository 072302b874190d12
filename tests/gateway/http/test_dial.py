"""From a name to a socket."""

import asyncio
import socket
from time import perf_counter

import pytest

from gateway.http.dial import Address, Dialer, first_connected, resolve


@pytest.fixture
def listener(stack):
    """Listen on an address of the loopback network."""

    def make(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
        listening = socket.socket()
        stack.callback(listening.close)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
        return listening

    return make


def at(host: str, port: int) -> Address:
    return Address(socket.AF_INET, (host, port))


async def peer_of(addresses: list[Address]) -> tuple[str, int]:
    with await first_connected(addresses) as connected:
        return connected.getpeername()


async def test_a_literal_address_is_itself() -> None:
    assert await resolve("127.0.0.1", 80) == [at("127.0.0.1", 80)]


async def test_families_take_turns_and_are_not_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answers(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        six = [(socket.AF_INET6, 1, 6, "", (f"::{n}", port, 0, 0)) for n in (1, 2, 2)]
        four = [(socket.AF_INET, 1, 6, "", (f"127.0.0.{n}", port)) for n in range(20)]
        return six + four

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answers, raising=False)
    found = [address.sockaddr[0] for address in await resolve("name", 80)]
    assert found == ["::1", "127.0.0.0", "::2", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]


async def test_the_first_address_that_answers(listener, unused_port: int) -> None:
    here = listener().getsockname()
    refused = at("127.0.0.2", unused_port)
    assert await peer_of([at(*here)]) == here
    assert await peer_of([refused, at(*here)]) == here
    assert await peer_of([at(*here), refused]) == here


async def test_a_silent_address_is_not_waited_for(listener, stack) -> None:
    full = socket.socket()
    stack.callback(full.close)
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(3):
        filler = socket.socket()
        filler.setblocking(False)
        stack.callback(filler.close)
        filler.connect_ex(full.getsockname())
    here, began_s = listener().getsockname(), perf_counter()
    assert await peer_of([at(*full.getsockname()), at(*here)]) == here
    assert perf_counter() - began_s < 10


async def test_nobody_answers(unused_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await first_connected([at("127.0.0.1", unused_port), at("127.0.0.2", unused_port)])


async def test_giving_up_leaves_no_socket(upstream, until) -> None:
    async def idle(peer) -> None:
        await peer.gone()

    server = await upstream(idle)
    dialer = Dialer("127.0.0.1", server.port)
    made: list[asyncio.BaseTransport] = []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    for number in range(300):
        task = asyncio.create_task(dialer.dial(Protocol))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError | Protocol)
    for transport in made:
        transport.abort()
    # Also those that came about but were never made a protocol for.
    await until(lambda: server.open == 0)
