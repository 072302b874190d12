from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, Body, FastAPI

from rollout.api.conditions import Key, Revision, etag
from rollout.api.problems import ProblemRoute
from rollout.core.once import CommandKey

routes = APIRouter(route_class=ProblemRoute)


@routes.post("/revision")
async def revision(given: Revision) -> int:
    return given


@routes.post("/key")
@routes.post("/other")
async def key(body: Annotated[dict[str, int], Body()], given: Key) -> CommandKey | None:
    return given


async def post(path: str, body: str = "{}", kind: str = "application/json", **headers: str) -> httpx2.Response:
    app = FastAPI()
    app.include_router(routes)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.post(path, content=body, headers=given | {"content-type": kind})


@pytest.mark.parametrize("value", [etag(7), "7", ' "7" '])
async def test_a_revision_is_read_from_if_match(value: str) -> None:
    assert (await post("/revision", if_match=value)).json() == 7


@pytest.mark.parametrize("value", ["*", 'W/"7"', '"1", "2"', "", "9" * 19])
async def test_what_names_no_single_revision_is_refused(value: str) -> None:
    assert (await post("/revision", if_match=value)).status_code == 422


async def test_a_revision_is_needed() -> None:
    assert (await post("/revision")).status_code == 428


async def test_without_a_key_there_is_none() -> None:
    assert (await post("/key")).json() is None


async def test_the_digest_tells_commands_apart_but_not_their_spelling() -> None:
    async def digest(path: str, body: str) -> str:
        found, told = (await post(path, body, idempotency_key="k 1")).json()
        assert found == "k 1"
        return str(told)

    same = {await digest("/key", text) for text in ('{"a": 1, "b": 2}', '{"b":2,"a":1}')}
    assert len(same) == 1
    assert not same & {await digest("/key", '{"a": 1, "b": 3}'), await digest("/other", '{"a": 1, "b": 2}')}


@pytest.mark.parametrize("value", ["", "x" * 201, "a\tb"])
async def test_what_is_no_key_is_refused(value: str) -> None:
    assert (await post("/key", idempotency_key=value)).status_code == 422


async def test_a_body_that_is_no_json_is_the_callers_fault_with_a_key_too() -> None:
    answer = await post("/key", "no json", "text/plain", idempotency_key="k")
    assert (answer.status_code, answer.json()["detail"]) == (422, "the body is not JSON")
