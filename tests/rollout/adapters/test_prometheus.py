"""The client's own duties, against a server that misbehaves at will. A real Prometheus: tests/system/test_promql.py."""

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from rollout.adapters.prometheus import BODY_MAX_BYTES, PrometheusAccess, PrometheusSource
from rollout.core.errors import InvalidArgument
from rollout.core.promql import MetricQuery
from rollout.core.readings import Reading, ReadingKind, measured

UP = MetricQuery("up")
LIMIT_S = 1.0


def vector(text: str = "0.25", at_s: float = 1_000.0) -> bytes:
    series = {"metric": {}, "value": [at_s, text]}
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": [series]}}).encode()


Read = Callable[..., Awaitable[Reading]]


@pytest.fixture
async def read(clock: Any) -> AsyncIterator[Read]:
    """Read one metric from an address, with the options of the source."""
    opened: list[PrometheusSource] = []

    async def once(url: str, query: MetricQuery = UP, **options: Any) -> Reading:
        opened.append(PrometheusSource(url, clock, **options))
        return await opened[-1].read(query)

    yield once
    for source in opened:
        await source.close()


def assert_error(reading: Reading, told: str) -> None:
    assert reading.kind is ReadingKind.ERROR
    assert told in reading.reason


async def test_a_query_travels_as_a_form(web: Any, answer: Any, read: Read) -> None:
    server = await web(answer(200, vector()))
    query = MetricQuery('sum(rate(errors{a="ü&x"}[5m]))', max_age_s=30.0)
    assert await read(f"{server.url}/prom/", query) == measured(0.25, 1_000.0, from_s=700.0)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/prom/api/v1/query")
    form = {"query": [query.expression], "timeout": ["10000ms"], "lookback_delta": ["30000ms"]}
    assert parse_qs(asked.body.decode()) == form
    assert "authorization" not in asked.headers
    assert asked.headers["accept-encoding"] == "identity"


async def test_the_parts_of_a_query_are_joined(web: Any, answer: Any, read: Read) -> None:
    values = {"ratio": "0.5", "newest": "940", "seen": "31"}
    server = await web(lambda asked: answer(200, vector(values[parse_qs(asked.body.decode())["query"][0]])))
    assert await read(server.url, MetricQuery("ratio", 120.0, "newest", "seen")) == measured(
        0.5, 940.0, 31, from_s=940.0
    )


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"bearer_file": "tok.en\n"}, "Bearer tok.en"),
        ({"basic_file": "ann:pass:word\n"}, f"Basic {base64.b64encode(b'ann:pass:word').decode()}"),
    ],
)
async def test_credentials_come_from_a_file(
    web: Any, answer: Any, read: Read, tmp_path: Path, files: dict[str, str], wanted: str
) -> None:
    ((name, content),) = files.items()
    (tmp_path / "secret").write_text(content)
    server = await web(answer(200, vector()))
    access = PrometheusAccess(**{name: tmp_path / "secret"})
    assert (await read(server.url, access=access)).kind is ReadingKind.OK
    assert server.asked[0].headers["authorization"] == wanted


async def test_a_rotated_token_is_in_force_at_once(web: Any, answer: Any, clock: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    server = await web(lambda asked: answer(200 if asked.headers["authorization"] == "Bearer new" else 401, vector()))
    source = PrometheusSource(server.url, clock, access=PrometheusAccess(bearer_file=token))
    token.write_text("old")
    assert_error(await source.read(UP), "HTTP 401: it wants other credentials")
    token.write_text("new")
    assert (await source.read(UP)).value == 0.25
    await source.close()


@pytest.mark.parametrize("content", [None, "", " \n", "a\nb", "tökén", b"\xff\xfe", "x" * 9_000])
async def test_a_secret_that_cannot_be_used_is_an_error_that_keeps_it(
    web: Any, answer: Any, read: Read, tmp_path: Path, content: str | bytes | None
) -> None:
    server = await web(answer(200, vector()))
    if content is not None:
        (tmp_path / "secret").write_bytes(content if isinstance(content, bytes) else content.encode())
    for name in ("bearer_file", "basic_file"):
        reading = await read(server.url, access=PrometheusAccess(**{name: tmp_path / "secret"}))
        assert_error(reading, str(tmp_path))
        assert not isinstance(content, str) or not content.strip() or content not in reading.reason
    assert server.asked == []


async def test_a_password_needs_a_name(read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sesame")
    reading = await read("http://127.0.0.1:9", access=PrometheusAccess(basic_file=tmp_path / "secret"))
    assert_error(reading, "must hold name:password")
    assert "sesame" not in reading.reason


async def test_a_redirect_is_not_followed(web: Any, answer: Any, read: Read) -> None:
    elsewhere = await web(answer(200, vector()))
    for status in (301, 302, 307, 308):
        server = await web(answer(status, b"", f"location: {elsewhere.url}/api/v1/query"))
        assert_error(await read(server.url), f"HTTP {status}: redirects are not followed")
    assert elsewhere.asked == []


async def test_a_server_that_says_nothing_is_given_up(web: Any, read: Read) -> None:
    server = await web(lambda _: None)
    assert_error(await read(server.url, limit_s=LIMIT_S), "within 1 s")
    assert len(server.asked) == 1


async def test_a_server_that_drips_is_given_up(web: Any, read: Read) -> None:
    """Each byte comes in time; only the whole does not."""
    server = await web(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n")

    async def drip() -> None:
        while True:
            for writer in list(server._writers):
                writer.write(b" ")
            await asyncio.sleep(LIMIT_S / 10)

    dripping = asyncio.create_task(drip())
    assert_error(await read(server.url, limit_s=LIMIT_S), "within 1 s")
    dripping.cancel()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_without_end_is_not_read(web: Any, answer: Any, read: Read, *, chunked: bool) -> None:
    padding = b" " * (BODY_MAX_BYTES + 1)
    endless = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (len(padding), padding)
    server = await web(endless if chunked else answer(200, vector() + padding))
    assert_error(await read(server.url), f"larger than {BODY_MAX_BYTES} bytes")


async def test_a_large_answer_within_the_limit_is_read(web: Any, answer: Any, read: Read) -> None:
    body = vector()
    server = await web(answer(200, body + b" " * (BODY_MAX_BYTES - len(body))))
    assert (await read(server.url)).kind is ReadingKind.OK


async def test_a_packed_answer_is_not_unpacked(web: Any, answer: Any, read: Read) -> None:
    server = await web(answer(200, b"\x1f\x8b", "content-encoding: gzip"))
    assert_error(await read(server.url), "packed as 'gzip'")


@pytest.mark.parametrize(
    "raw",
    [b"", b"HTTP/1.1 200", b"no http at all\r\n\r\n", b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{}"],
)
async def test_an_answer_cut_off_is_an_error(web: Any, read: Read, until: Any, raw: bytes) -> None:
    server = await web(raw)

    async def cut() -> None:
        await until(lambda: server.asked)
        for writer in list(server._writers):
            writer.close()

    cutting = asyncio.create_task(cut())
    assert_error(await read(server.url), f"no answer from {server.url}")
    await cutting


async def test_nobody_there_is_an_error(web: Any, answer: Any, read: Read) -> None:
    server = await web(answer(200, vector()))
    await server.stop()
    assert_error(await read(server.url), "no answer from http://127.0.0.1")


async def test_a_closed_source_is_an_error(clock: Any) -> None:
    source = PrometheusSource("http://127.0.0.1:9", clock)
    await source.close()
    await source.close()
    assert (await source.read(UP)).kind is ReadingKind.ERROR


async def test_reading_can_be_cancelled(web: Any, clock: Any, until: Any) -> None:
    server = await web(lambda _: None)
    source = PrometheusSource(server.url, clock)
    reading = asyncio.create_task(source.read(UP))
    await until(lambda: server.asked)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await source.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    names = ("-subj", "/CN=prometheus", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    files = ("-keyout", "own.key", "-out", "own.pem")
    subprocess.run([openssl, *made, *files, *names], cwd=folder, check=True, capture_output=True)
    return folder / "own.pem"


async def test_tls_trusts_whom_it_is_told_to(web: Any, answer: Any, read: Read, certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("own.key"))
    server = await web(answer(200, vector()), context)
    assert (await read(server.url, ca_file=certificate)).kind is ReadingKind.OK
    assert_error(await read(server.url), "CERTIFICATE_VERIFY_FAILED")
    assert_error(await read(server.url.replace("127.0.0.1", "localhost"), ca_file=certificate), "localhost")


@pytest.mark.parametrize(
    "url",
    ["", "prometheus:9090", "ftp://p:9090", "http://", "http://p?x=1", "http://p#x", "http://p:port", "http://\0"],
)
def test_an_address_that_is_none_is_refused(clock: Any, url: str) -> None:
    with pytest.raises(InvalidArgument, match="URL of Prometheus"):
        PrometheusSource(url, clock)


def test_credentials_in_an_address_are_refused_unseen(clock: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        PrometheusSource("http://ann:sesame@p:9090", clock)
    assert "sesame" not in refused.value.cause + refused.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"access": PrometheusAccess(Path("a"), Path("b"))},
        {"limit_s": 0.0},
        {"limit_s": 1_000.0},
        {"ca_file": Path("/nowhere/ca.pem")},
        {"ca_file": Path(__file__)},
    ],
)
def test_options_that_cannot_be_meant_are_refused(clock: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        PrometheusSource("http://p:9090", clock, **options)
    assert refused.value.hint
