"""The operator's port with its real routes on a socket: what it reads from strangers, what a voter's key opens."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import httpx2
import pytest

from gateway.operator_port import OperatorPort
from rollout.adapters.sqlite import SqliteStore
from tests.gateway.operators import Operators
from tests.gateway.texts import texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANSWER_S = 60
VOTES = "/api/v1/features/draft/arena/votes"


@pytest.fixture
async def address(tmp_path: Path, stack) -> AsyncIterator[tuple[str, int]]:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    here = Operators(tmp_path, store)
    await stack.enter_async_context(here.client)
    here.put(texts(1))
    here.put(texts(2), feature="ask")
    port = OperatorPort(here.app, keep_alive_s=0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        serving = asyncio.get_running_loop().create_task(port.serve([listener]))
        async with asyncio.timeout(ANSWER_S):
            await port.listening.wait()
        yield listener.getsockname()
        port.should_exit = True
        async with asyncio.timeout(ANSWER_S):
            await serving


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (b"content-length: 314572800", b""),
        (b"transfer-encoding: chunked", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    ],
)
async def test_a_stranger_is_refused_before_the_body_is_there(
    address: tuple[str, int], header: bytes, sent: bytes
) -> None:
    """Neither body ever ends: whoever waits for it gives no answer."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(
        b"POST %s HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n%s\r\n\r\n" % (VOTES.encode(), header)
    )
    writer.write(sent * 5)
    async with asyncio.timeout(ANSWER_S):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        problem = json.loads(await reader.readexactly(length))
    writer.close()
    assert b"content-type: application/problem+json" in head
    assert (problem["status"], problem["hint"]) == (413, "send less; flags as code go to /api/v1/documents")


async def test_a_voter_is_offered_and_shown_what_the_key_opens(address: tuple[str, int]) -> None:
    base = f"http://{address[0]}:{address[1]}/api/v1"
    offered, shown = {}, {}
    async with httpx2.AsyncClient() as client:
        for name in ("drafts", "voter"):
            key = {"authorization": f"Bearer gp-{name}"}
            offered[name] = (await client.get(f"{base}/arena/features", headers=key)).json()["features"]
            for feature in ("ask", "draft"):
                answer = await client.get(f"{base}/features/{feature}/arena/pair", headers=key)
                shown[name, feature] = answer.status_code
    assert offered == {"drafts": ["draft"], "voter": ["ask", "draft"]}
    assert {pair for pair, status in shown.items() if status == 403} == {("drafts", "ask")}
    assert sum(status == 200 for status in shown.values()) == 3
