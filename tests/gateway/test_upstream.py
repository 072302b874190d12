import pytest

from gateway.settings import SettingsError, UpstreamSettings
from gateway.upstream import build_upstream

THREE = ["http://a:1/v1", "http://b:1/v1", "http://c:1/v1"]


def built(api_key: str | None = None, proxy_credentials: str | None = None, **changes: object):
    values = {"kind": "vllm", "base_urls": ["http://127.0.0.1:8000/v1"], "model": "moe", **changes}
    return build_upstream("inhouse", UpstreamSettings.model_validate(values), api_key, proxy_credentials)


def eject(endpoint, now_s: float = 0.0) -> None:
    for ticket in [endpoint.breaker.on_sent(now_s) for _ in range(5)]:
        endpoint.breaker.on_failure(now_s, ticket)
    assert endpoint.state == "ejected"


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


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("chat", b"POST /v1/chat/completions HTTP/1.1"),
        ("text_completion", b"POST /v1/completions HTTP/1.1"),
        ("responses", b"POST /v1/responses HTTP/1.1"),
        ("messages", b"POST /v1/chat/completions HTTP/1.1"),
    ],
)
def test_a_head_for_each_operation(operation: str, line: bytes) -> None:
    (endpoint,) = built().endpoints
    assert endpoint.heads[operation].splitlines()[0] == line


def test_a_conversation_stays_with_its_endpoint() -> None:
    upstream = built(base_urls=THREE)
    chosen = {upstream.choose(f"conversation-{n}", 0.0).url for n in range(50)}
    assert chosen == set(THREE)
    assert len({upstream.choose("one", 0.0) for _ in range(9)} | {upstream.choose(b"one", 0.0)}) == 1
    again = built(base_urls=THREE[::-1]).choose("one", 0.0)
    assert again.url == upstream.choose("one", 0.0).url


def test_without_affinity_the_conversation_does_not_matter() -> None:
    upstream = built(base_urls=THREE, affinity=False)
    assert len({upstream.choose("one", 0.0) for _ in range(3)}) == 3


@pytest.mark.parametrize("affinity", [None, "", "one", "\ud800"])
def test_equal_load_takes_turns_and_what_was_tried_is_left_out(affinity: str | None) -> None:
    upstream = built(base_urls=THREE)
    tried: list = []
    while (endpoint := upstream.choose(affinity, 0.0, tried)) is not None:
        tried.append(endpoint)
    assert sorted(each.url for each in tried) == THREE
    assert built().choose(affinity, 0.0, built().endpoints) is not None
    single = built()
    assert single.choose(affinity, 0.0, single.endpoints) is None


def test_an_ejected_endpoint_is_left_out_until_it_is_time_for_a_probe() -> None:
    upstream = built(base_urls=THREE[:2])
    first, second = upstream.endpoints
    eject(first)
    assert {upstream.choose(None, 0.5) for _ in range(4)} == {second}
    eject(second, 0.5)
    assert upstream.choose("one", 0.6) is None
    assert upstream.choose(None, 1.0) is first
    first.breaker.on_sent(1.0)
    assert first.state == "probing"
    assert upstream.choose(None, 1.0) is None
    assert built().choose(None, 0.0).state == "healthy"


def test_when_to_come_back() -> None:
    upstream = built(base_urls=THREE[:2], breaker={"ejected_s": 20, "ejected_max_s": 500})
    for endpoint in upstream.endpoints:
        eject(endpoint, 100.0)
    assert upstream.retry_after_s(100.0) == 20
    assert upstream.retry_after_s(115.5) == 5
    assert upstream.retry_after_s(130.0) == 1
    eject(single := built(breaker={"ejected_s": 500, "ejected_max_s": 500}).endpoints[0])
    assert single.admits_at_s() == 500
    sick = built(health={"path": "/health", "interval_s": 30})
    sick.endpoints[0].health.healthy, sick.endpoints[0].health.due_s = False, 77.0
    assert sick.endpoints[0].state == "unhealthy"
    assert sick.choose(None, 50.0) is None
    assert sick.retry_after_s(50.0) == 27


def test_labels_are_of_the_configuration_and_differ() -> None:
    urls = ["http://a:1/v1", "https://a:1/v1/", "http://a:1", "http://a:1/v1"]
    assert [endpoint.label for endpoint in built(base_urls=urls).endpoints] == [
        "a:1/v1", "a:1/v1#2", "a:1", "a:1/v1#3",
    ]  # fmt: skip


def test_the_breaker_is_as_configured() -> None:
    (endpoint,) = built(breaker={"consecutive_failures": 1, "ejected_s": 3}).endpoints
    endpoint.breaker.on_failure(10.0, endpoint.breaker.on_sent(10.0))
    assert (endpoint.state, endpoint.breaker.retry_at_s) == ("ejected", 13.0)


def test_a_proxy_is_told_the_whole_url_of_http_and_its_credentials_are_secrets() -> None:
    upstream = built("sk-1", "me:word", base_urls=["http://a:1/v1", "https://b/v1"], proxy_url="http://proxy:3128")
    plain, secure = upstream.endpoints
    assert plain.heads["chat"].startswith(b"POST http://a:1/v1/chat/completions HTTP/1.1\r\nhost: a:1\r\n")
    assert plain.heads["chat"].endswith(b"proxy-authorization: Basic bWU6d29yZA==\r\n")
    assert secure.heads["chat"].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\n")
    assert b"proxy" not in secure.heads["chat"]
    assert upstream.secrets == ("sk-1", "me:word", "bWU6d29yZA==")
    assert b"proxy" not in built(proxy_url="http://p", base_urls=["http://a"]).endpoints[0].heads["chat"]


def test_tls_files_that_cannot_be_used_are_refused_where_they_matter() -> None:
    with pytest.raises(SettingsError, match=r"upstreams\.inhouse\.tls\.ca_file"):
        built(base_urls=["https://a/v1"], tls={"ca_file": "/nowhere/ca.pem"})
