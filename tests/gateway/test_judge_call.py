"""One question over HTTP: the way to a judge, and the time that it may take. What can go wrong: test_judge.py."""

import asyncio

import pytest

from gateway.core.judging.score import Miss
from gateway.judge_call import MissedError, open_line
from gateway.settings import SettingsError
from gateway.settings.judges import JudgeSettings


def settings(url: str, **more: object) -> JudgeSettings:
    return JudgeSettings.model_validate({"url": url, "model": "m", **more})


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1", "/v1/chat/completions"), ("/api/v2/", "/api/v2/chat/completions"), ("", "/chat/completions")],
)
async def test_the_path_follows_the_base_url(upstream, wire, stack, path: str, asked: str) -> None:
    server = await upstream(wire.plain("{}"))
    line = open_line("j", settings(f"http://127.0.0.1:{server.port}{path}"), None)
    stack.callback(line.pool.close)
    assert await line.ask(b"{}", "r-1", 60) == b"{}"
    (request,) = server.requests
    assert request.line == f"POST {asked} HTTP/1.1"
    assert "authorization" not in request.headers
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


async def test_connections_are_used_again(upstream, wire, stack) -> None:
    server = await upstream(wire.plain("{}"))
    line = open_line("j", settings(f"http://127.0.0.1:{server.port}/v1"), None)
    stack.callback(line.pool.close)
    for _ in range(3):
        await line.ask(b"{}", "r-1", 60)
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_whoever_stops_waiting_takes_the_question_back(upstream, stack, until) -> None:
    async def stall(peer) -> None:
        await peer.request()
        await peer.request()

    server = await upstream(stall)
    line = open_line("j", settings(f"http://127.0.0.1:{server.port}/v1"), None)
    stack.callback(line.pool.close)
    asking = asyncio.ensure_future(line.ask(b"{}", "r-1", 600))
    await until(lambda: server.open)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: server.left == [1])
    assert line.pool.counts == (0, 0, 0)


async def test_a_proxy_is_told_the_whole_url_of_http_and_who_asks(upstream, wire, stack) -> None:
    proxy = await upstream(wire.plain("{}"))
    through = settings("http://judge.example:8080/v1", proxy_url=f"http://127.0.0.1:{proxy.port}")
    line = open_line("j", through, "sk-1", "me:word")
    stack.callback(line.pool.close)
    assert await line.ask(b"{}", "r-1", 60) == b"{}"
    (request,) = proxy.requests
    assert request.line == "POST http://judge.example:8080/v1/chat/completions HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic bWU6d29yZA=="
    assert request.headers["authorization"] == "Bearer sk-1"


async def test_https_goes_through_a_tunnel(upstream, stack) -> None:
    asked = []

    async def refuses(peer) -> None:
        asked.append((await peer.request()).line)
        peer.send(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    proxy = await upstream(refuses)
    line = open_line("j", settings("https://judge.example/v1", proxy_url=f"http://127.0.0.1:{proxy.port}"), "sk-1")
    stack.callback(line.pool.close)
    with pytest.raises(MissedError):
        await line.ask(b"{}", "r-1", 60)
    assert asked == ["CONNECT judge.example:443 HTTP/1.1"]
    assert b"proxy" not in line.head
    assert line.head.startswith(b"POST /v1/chat/completions")


async def test_an_id_that_is_no_ascii_breaks_nothing(upstream, wire, stack) -> None:
    server = await upstream(wire.plain("{}"))
    line = open_line("j", settings(f"http://127.0.0.1:{server.port}/v1"), None)
    stack.callback(line.pool.close)
    await line.ask(b"{}", "r-\u00e9", 60)
    assert server.requests[0].headers["x-request-id"] == "r-?"


async def test_a_server_that_speaks_no_tls_is_unreachable(upstream, wire, stack) -> None:
    async def plain(peer) -> None:
        await peer.read(1)
        peer.send(wire.plain("{}", "400 Bad Request"))
        await peer.gone()

    server = await upstream(plain)
    line = open_line("j", settings(f"https://127.0.0.1:{server.port}/v1"), None)
    stack.callback(line.pool.close)
    with pytest.raises(MissedError) as caught:
        await line.ask(b"{}", "r-1", 60)
    assert caught.value.reason is Miss.UNREACHABLE


def test_tls_files_are_looked_at_before_anybody_is_asked(tmp_path) -> None:
    missing = {"ca_file": str(tmp_path / "absent.pem")}
    with pytest.raises(SettingsError) as caught:
        open_line("j", settings("https://127.0.0.1:9/v1", tls=missing), None)
    assert caught.value.cause.startswith("judges.j.tls.ca_file")
