"""The protocol over HTTP, against the shapes of its OpenAPI document. With the official client: tests/system."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Header, HTTPException

from rollout.api.router import router as operator_api
from rollout.core.ofrep import BODY_MAX_BYTES, Asker
from rollout.follower import Follower
from rollout.ofrep import router
from rollout.ports import Store

ONE, ALL = "/ofrep/v1/evaluate/flags/draft", "/ofrep/v1/evaluate/flags"


def asker(authorization: str | None = Header(default=None)) -> Asker:
    """The simplest mounting application: the header names tenant and feature, as "Bearer tenant:feature"."""
    if authorization is None:
        raise HTTPException(401, "a key is needed", {"WWW-Authenticate": "Bearer"})
    tenant, _, feature = authorization.removeprefix("Bearer ").partition(":")
    return Asker(tenant or None, frozenset({feature}) if feature else None)


@pytest.fixture
async def api(seeded: Store, follower: Follower, clock: Any) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    app.include_router(router(lambda: follower.snapshot, asker))
    app.include_router(operator_api(seeded, follower, clock, lambda *_: lambda: "ann"), prefix="/api/v1")
    headers = {"Authorization": "Bearer "}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://api", headers=headers
    ) as client:
        yield client


def about(key: str = "k", **attributes: object) -> dict[str, Any]:
    return {"context": {"targetingKey": key, **attributes}}


async def set_share(api: httpx2.AsyncClient, share: str, revision: int) -> None:
    body = {"share": share, "reason": "ramp"}
    answer = await api.put("/api/v1/features/draft/share", json=body, headers={"If-Match": f'"{revision}"'})
    assert answer.status_code == 200


async def test_one_flag(api: httpx2.AsyncClient) -> None:
    answer = await api.post(ONE, json=about())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert set(body) == {"key", "reason", "variant", "value", "metadata"}
    assert (body["key"], body["reason"], body["variant"], body["value"]) == ("draft", "SPLIT", "baseline", "partner")
    assert (body["metadata"]["revision"], body["metadata"]["bucketBy"]) == (1, "conversation")
    assert all(isinstance(value, (str, int, float, bool)) for value in body["metadata"].values())
    await set_share(api, "100%", 1)
    body = (await api.post(ONE, json=about())).json()
    assert (body["variant"], body["value"], body["metadata"]["revision"]) == ("candidate", "inhouse", 2)


async def test_all_flags_and_their_tag(api: httpx2.AsyncClient, follower: Follower) -> None:
    first = await api.post(ALL, json=about())
    assert [flag["key"] for flag in first.json()["flags"]] == ["draft", "summarize"]
    held = {"If-None-Match": first.headers["etag"]}
    again = await api.post(ALL, json=about(), headers=held)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await api.post(ALL, json=about("other"), headers=held)).status_code == 200
    await set_share(api, "100%", 1)
    changed = await api.post(ALL, json=about(), headers=held)
    assert (changed.status_code, changed.json()["flags"][0]["variant"]) == (200, "candidate")
    await follower.kill_locally("draft")
    killed = await api.post(ALL, json=about(), headers={"If-None-Match": changed.headers["etag"]})
    assert (killed.status_code, killed.json()["flags"][0]["reason"]) == (200, "DISABLED")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b" " * (BODY_MAX_BYTES + 1), "PARSE_ERROR"),
        (b'{"context":7}', "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT"),
    ],
)
async def test_a_request_that_cannot_be_meant(api: httpx2.AsyncClient, content: bytes, code: str) -> None:
    for path in (ONE, ALL):
        answer = await api.post(path, content=content)
        body = answer.json()
        assert (answer.status_code, body["errorCode"]) == (400, code)
        assert ("key" in body) == (path == ONE)
        assert "etag" not in answer.headers


async def test_a_flag_that_is_not_there_and_a_key_that_is_missing(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/ofrep/v1/evaluate/flags/draught", json=about())
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    answer = await api.post(ONE, json={})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "TARGETING_KEY_MISSING")
    bulk = (await api.post(ALL, json={})).json()
    assert [flag["errorCode"] for flag in bulk["flags"]] == ["TARGETING_KEY_MISSING"] * 2


async def test_the_mounting_application_says_who_may_ask_for_what(api: httpx2.AsyncClient) -> None:
    del api.headers["Authorization"]
    for path in (ONE, ALL):
        assert (await api.post(path, json=about())).status_code == 401
    api.headers["Authorization"] = "Bearer acme:summarize"
    assert (await api.post(ONE, json=about())).status_code == 404
    assert [flag["key"] for flag in (await api.post(ALL, json=about())).json()["flags"]] == ["summarize"]
    answer = await api.post(ALL, json=about(tenant="other"))
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "INVALID_CONTEXT")


async def test_before_the_first_document(clock: Any, store: Store) -> None:
    app = FastAPI()
    follower = Follower(store, clock)
    app.include_router(router(lambda: follower.snapshot, lambda: Asker(None)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
        for path in (ONE, ALL):
            answer = await client.post(path, json=about())
            assert (answer.status_code, answer.json()["errorCode"]) == (500, "GENERAL")
            assert "etag" not in answer.headers


async def test_the_openapi_document_tells_the_shapes(api: httpx2.AsyncClient) -> None:
    paths = (await api.get("/openapi.json")).json()["paths"]
    one, bulk = paths["/ofrep/v1/evaluate/flags/{key}"]["post"], paths["/ofrep/v1/evaluate/flags"]["post"]
    assert set(one["responses"]) >= {"200", "400", "404", "500"}
    assert set(bulk["responses"]) >= {"200", "304", "400", "500"}
    asked = one["requestBody"]["content"]["application/json"]["schema"]["properties"]["context"]["properties"]
    assert "targetingKey" in asked
