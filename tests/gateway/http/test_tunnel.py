"""Through a proxy: a small real one, that keeps what it was asked."""

import asyncio
from contextlib import suppress

import pytest

from gateway.core.outcome import Phase
from gateway.http.tunnel import Proxy, connect_request, proxy_of

SECRET = "me:s3cret-word"
TOKEN = "bWU6czNjcmV0LXdvcmQ="


class Through:
    """The script of a proxy: CONNECT, and absolute URLs over plain HTTP; wants Basic credentials if given a token."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, peer) -> None:
        while True:
            head = (await peer.head()).decode()
            self.heads.append(head)
            if self.token and f"proxy-authorization: Basic {self.token}\r\n" not in head:
                peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            elif head.startswith("CONNECT"):
                await self.tunnel(peer, *head.split(" ")[1].split(":"))
                return
            else:
                await peer.read(2)
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nproxied")

    async def tunnel(self, peer, host: str, port: str) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = asyncio.create_task(_copy(reader.read, peer.send))
        try:
            await _copy(peer.read, writer.write)
        finally:
            back.cancel()
            writer.transport.abort()


async def _copy(read, write) -> None:
    with suppress(ConnectionError):
        while data := await read(65_536):
            write(data)


@pytest.fixture
def proxy(upstream):
    """Start a proxy."""

    async def start(token: str | None = None) -> Through:
        through = Through(token)
        through.port = (await upstream(through.serve)).port
        return through

    return start


def via(server: Through, credentials: str | None = None) -> Proxy:
    return proxy_of(f"http://127.0.0.1:{server.port}", credentials)


def test_what_is_asked_of_a_proxy() -> None:
    assert connect_request("a.example", 443, Proxy("p", 1, "")) == (
        b"CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n"
    )
    told = proxy_of("http://p.example", SECRET)
    assert (told.host, told.port) == ("p.example", 80)
    assert connect_request("::1", 8443, told).splitlines() == [
        b"CONNECT [::1]:8443 HTTP/1.1",
        b"host: [::1]:8443",
        b"proxy-authorization: Basic " + TOKEN.encode(),
        b"",
    ]
    assert TOKEN not in repr(told)


async def test_https_goes_through_a_tunnel(*, proxy, tls_upstream, client_tls, pool_to, wire, answered) -> None:
    server, through = await tls_upstream(wire.plain(b"secure")), await proxy(TOKEN)
    pool = pool_to(server.port, tls=client_tls(), proxy=via(through, SECRET))
    for _ in range(2):
        assert (await answered(pool)).body == b"secure"
    assert [head.split(" ")[0] for head in through.heads] == ["CONNECT"]
    assert through.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    # The credentials are the proxy's alone.
    assert all("proxy-authorization" not in request.headers for request in server.requests)


async def test_http_is_asked_of_the_proxy_itself(proxy, pool_to, answered, unused_port: int) -> None:
    through = await proxy()
    pool = pool_to(unused_port, proxy=via(through))
    assert (await answered(pool)).body == b"proxied"


@pytest.mark.parametrize("credentials", [None, "me:wrong-word"])
async def test_a_proxy_that_refuses_is_named_without_its_credentials(
    proxy, client_tls, pool_to, ask, credentials: str | None
) -> None:
    through = await proxy(TOKEN)
    pool = pool_to(443, "a.example", tls=client_tls(), proxy=via(through, credentials))
    failure = await ask(pool)[0].broke()
    assert (failure.phase, failure.kind, failure.text) == (Phase.CONNECT, "proxy_refused", "the proxy answered 407")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "more than"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "too large"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502"),
        (b"", "closed"),
    ],
)
async def test_a_proxy_that_talks_nonsense(
    *, upstream, client_tls, pool_to, until, ask, answer: bytes, text: str
) -> None:
    async def nonsense(peer) -> None:
        await peer.head()
        peer.send(answer)
        peer.close()

    server = await upstream(nonsense)
    pool = pool_to(443, "a.example", tls=client_tls(), proxy=proxy_of(f"http://127.0.0.1:{server.port}", SECRET))
    failure = await ask(pool)[0].broke()
    assert failure.kind == "proxy_refused"
    assert text in failure.text
    assert "s3cret" not in failure.text
    await until(lambda: not server.open and pool.connecting == 0)
