import pytest

from gateway.settings import UpstreamSettings
from gateway.upstream import build_upstream


def built(api_key: str | None = None, **changes: object):
    values = {"kind": "vllm", "base_urls": ["http://127.0.0.1:8000/v1"], "model": "moe", **changes}
    return build_upstream("inhouse", UpstreamSettings.model_validate(values), api_key)


@pytest.mark.parametrize(
    ("url", "host", "port", "line", "host_line"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1", 8000, b"POST /v1/chat/completions", b"host: 127.0.0.1:8000"),
        ("http://some.host/v1/", "some.host", 80, b"POST /v1/chat/completions", b"host: some.host"),
        ("https://some.host", "some.host", 443, b"POST /chat/completions", b"host: some.host"),
        ("http://[::1]:9/a/b", "::1", 9, b"POST /a/b/chat/completions", b"host: [::1]:9"),
    ],
)
def test_an_endpoint_of_a_url(url: str, host: str, port: int, line: bytes, host_line: bytes) -> None:
    (endpoint,) = built(base_urls=[url]).endpoints
    assert (endpoint.pool.host, endpoint.pool.port, endpoint.url) == (host, port, url)
    assert endpoint.heads["chat"].startswith(line + b" HTTP/1.1\r\n" + host_line + b"\r\n")
    assert b"/completions HTTP/1.1" in endpoint.heads["text_completion"]
    assert b"chat" not in endpoint.heads["text_completion"]


def test_its_key_is_in_every_head() -> None:
    (endpoint,) = built("sk-1").endpoints
    assert all(b"authorization: Bearer sk-1\r\n" in head for head in endpoint.heads.values())


def test_its_model_as_json_and_as_a_header() -> None:
    upstream = built(model='m"\u00fc')
    assert bytes(upstream.raw_model).decode() == '"m\\"\u00fc"'
    assert upstream.model_bytes == b'm"?'


def test_its_deadlines() -> None:
    limits = built(first_byte_timeout_s=1, idle_timeout_s=2, total_timeout_s=3).deadlines
    assert limits == (1.0, 2.0, 3.0)


def test_the_least_busy_endpoint_is_chosen() -> None:
    upstream = built(base_urls=["http://a/v1", "http://b/v1"])
    first, second = upstream.endpoints
    first.outstanding = 1
    assert upstream.choose(None, 0.0) is second
    first.outstanding, second.outstanding = 0, 1
    assert upstream.choose(None, 0.0) is first
    assert built().choose(None, 0.0).url == "http://127.0.0.1:8000/v1"


def test_sweeping_and_closing_without_connections() -> None:
    upstream = built()
    upstream.sweep(1_000.0)
    upstream.close()
    assert upstream.endpoints[0].pool.counts == (0, 0, 0)
