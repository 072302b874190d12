"""A pool with a receiver that keeps what it hears, and a port whose requests the test answers itself."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core.outcome import Failure
from gateway.http.client import Pool
from gateway.http.incoming import Incoming
from gateway.http.lease import Answer, Lease
from gateway.http.tls import client_context
from gateway.settings.upstreams import TlsSettings

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"


class Heard:
    """A receiver that keeps what it is told, and notices if it is told more after the end."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.failure: Failure | None = None
        self.complete = False
        self.told_after_end = False
        self.ended = asyncio.Event()

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        self.told_after_end |= self.ended.is_set()
        self.status, self.headers = answer.status, answer.headers
        self.body += data
        if complete:
            self.complete = True
            self.ended.set()

    def on_failure(self, failure: Failure) -> None:
        self.told_after_end |= self.ended.is_set()
        self.failure = failure
        self.ended.set()

    async def end(self) -> "Heard":
        async with asyncio.timeout(60):
            await self.ended.wait()
        assert not self.told_after_end
        return self

    async def broke(self) -> Failure:
        """How it failed."""
        failure = (await self.end()).failure
        assert failure is not None
        assert not self.complete
        return failure


@pytest.fixture
def pool_to(stack) -> Callable[..., Pool]:
    """Make a pool that is closed at the end."""

    def make(port: int, host: str = "127.0.0.1", **options: object) -> Pool:
        # A busy machine is no failure.
        pool = Pool(host, port, **{"connect_s": 20.0, **options})
        stack.callback(pool.close)
        return pool

    return make


@pytest.fixture
def ask() -> Callable[..., tuple[Heard, Lease]]:
    """Send a request through a pool."""

    def send(pool: Pool, body: bytes = b"{}") -> tuple[Heard, Lease]:
        heard = Heard()
        return heard, pool.request(heard, HEAD % len(body), body)

    return send


@pytest.fixture
def answered(ask) -> Callable[..., Awaitable[Heard]]:
    """Send a request through a pool and wait for its end."""

    async def send(pool: Pool, body: bytes = b"{}") -> Heard:
        return await ask(pool, body)[0].end()

    return send


class Listening:
    """A listener that counts what it is told."""

    def __init__(self) -> None:
        self.gone = self.blocked = self.ready = 0

    def on_caller_gone(self) -> None:
        self.gone += 1

    def on_caller_blocked(self) -> None:
        self.blocked += 1

    def on_caller_ready(self) -> None:
        self.ready += 1


class Accepted(list[Incoming]):
    """An `accept` that keeps each request, with a listener, for the test to answer."""

    def __init__(self) -> None:
        self.listeners: list[Listening] = []

    def __call__(self, incoming: Incoming) -> None:
        incoming.listener = Listening()
        self.listeners.append(incoming.listener)
        self.append(incoming)


@pytest.fixture
def accepted() -> Accepted:
    return Accepted()


@pytest.fixture
def echo() -> Callable[[Incoming], None]:
    """An `accept` that answers each request with its body."""

    def answer(incoming: Incoming) -> None:
        incoming.respond(200, b"content-type: text/plain\r\n", incoming.body)

    return answer


@pytest.fixture
def describe() -> Callable[..., Awaitable[None]]:
    """An ASGI application that says what it got."""

    async def app(scope, receive, send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        said = {"path": scope["path"], "method": scope["method"], "body": body.decode(), "headers": headers}
        data = json.dumps(said).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(data))]})
        await send({"type": "http.response.body", "body": data})

    return app


class Certificates(NamedTuple):
    """PEM files: an authority, and what it issued to a server (127.0.0.1 and model.example) and to a client."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    encrypted_key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made anew for each run with the `openssl` command, valid for a day."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    run("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    names = "subjectAltName=IP:127.0.0.1,DNS:model.example"
    for name in ("server", "client"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", names, "-addext", "basicConstraints=CA:FALSE")
        run("req", "-x509", *new_key, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    run("ec", "-in", "client.key", "-out", "encrypted.key", "-aes256", "-passout", "pass:secret")
    files = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "encrypted.key")
    return Certificates(*(folder / name for name in files))


@pytest.fixture
def client_tls(certificates: Certificates) -> Callable[..., ssl.SSLContext]:
    """The gateway's side of TLS, trusting the test authority only."""

    def make(*, certificate: bool = False) -> ssl.SSLContext:
        own = {"cert_file": str(certificates.client), "key_file": str(certificates.client_key)} if certificate else {}
        return client_context(TlsSettings(ca_file=str(certificates.authority), **own), "upstreams.u.tls")

    return make


@pytest.fixture
def tls_upstream(upstream, certificates: Certificates):
    """Start a TLS upstream, as `upstream` does; `names` are those it was asked for."""

    async def start(script: object, *, client_certificate: bool = False):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
        context.load_cert_chain(certificates.server, certificates.server_key)
        context.verify_mode = ssl.CERT_REQUIRED if client_certificate else ssl.CERT_NONE
        names: list[str] = []
        context.sni_callback = lambda _, name, __: names.append(name) if name else None
        server = await upstream(script, tls=context)
        server.names = names
        return server

    return start
