"""What the operator's port reads from whoever asks, key or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel

from gateway.admin import build_admin
from gateway.body_limit import BODY_MAX_BYTES
from tests.gateway.operators import Quiet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Said(BaseModel):
    text: str


class Source:
    """A body in pieces; counts those that were taken."""

    def __init__(self, pieces: int, piece: bytes = b" " * 65_536) -> None:
        self._pieces, self._piece, self.taken = pieces, piece, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._pieces):
            self.taken += 1
            yield self._piece


@pytest.fixture
async def client(stack) -> httpx2.AsyncClient:
    routes = APIRouter()

    @routes.post("/said")
    async def say(said: Said) -> int:
        return len(said.text)

    @routes.put("/documents")
    async def take(request: Request) -> int:
        return len(await request.body())

    transport = httpx2.ASGITransport(app=build_admin(routes, Quiet()))
    return await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://admin/api/v1"))


def refused(answer: httpx2.Response) -> bool:
    problem = answer.json()
    return (answer.status_code, problem["status"], "documents" in problem["hint"]) == (413, 413, True)


async def test_what_says_that_it_is_too_long_is_not_read_at_all(client: httpx2.AsyncClient) -> None:
    body = Source(8)
    answer = await client.post("/said", content=body, headers={"content-length": str(8 * 65_536)})
    assert refused(answer)


async def test_what_turns_out_to_be_too_long_is_read_no_further(client: httpx2.AsyncClient) -> None:
    body = Source(1_000)
    assert refused(await client.post("/said", content=body))
    assert body.taken <= BODY_MAX_BYTES / 65_536 + 1


async def test_what_is_short_enough_passes(client: httpx2.AsyncClient) -> None:
    longest = b'{"text": "' + b"x" * (BODY_MAX_BYTES - 12) + b'"}'
    is_json = {"content-type": "application/json"}
    assert (await client.post("/said", content=longest, headers=is_json)).json() == BODY_MAX_BYTES - 12
    assert refused(await client.post("/said", content=longest + b" ", headers=is_json))


async def test_documents_bound_themselves(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/documents", content=b"x" * (2 * BODY_MAX_BYTES))
    assert answer.json() == 2 * BODY_MAX_BYTES
