import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from rollout.core.keys import KeyRecord
from rollout.keys.api import key_router
from rollout.keys.follower import KeyFollower
from rollout.ports import Store
from tests.rollout.admin_port import authorize_exactly

ORDER = {"name": "web", "tenant": "acme", "reason": "new team"}
WHY = {"reason": "r"}


@pytest.fixture
async def api(
    seeded: Store, clock: Any, make_key: Callable[[], str], first: KeyRecord
) -> AsyncIterator[httpx2.AsyncClient]:
    await seeded.create_key_if_empty(first)
    follower = KeyFollower(seeded, clock, lambda _: None)
    app = FastAPI()
    app.include_router(key_router(seeded, clock, authorize_exactly, make_key, follower.refresh), prefix="/api/v1")
    headers = {"Authorization": "Bearer admin:ann"}
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as client:
        yield client


def assert_problem(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:glidepath:problem:{name}"
    return body


async def test_a_key_is_shown_once_and_never_listed(api: httpx2.AsyncClient) -> None:
    scope = {
        "features": ["draft"],
        "roles": ["viewer"],
        "model_bypass": True,
        "priority": "batch",
        "requests_per_minute": 60,
        "tokens_per_minute": 9_000,
        "concurrent_max": 4,
        "budget_microusd_per_day": 5_000_000,
    }
    answer = await api.post("/keys", json=ORDER | scope | {"expires_in_s": 3_600})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    body = answer.json()
    assert (body["key"], body["replaced"]) == ("gp-secret-1", None)
    assert {name: body["record"][name] for name in scope} == scope
    assert (body["record"]["status"], body["record"]["expires_at_s"]) == ("live", 4_600.0)
    listed = await api.get("/keys")
    assert listed.json()["keys"][1] == body["record"]
    history = await api.get("/keys/history")
    for text in (listed.text, history.text):
        assert "gp-secret" not in text
        assert "digest" not in text


async def test_rotate_then_revoke(api: httpx2.AsyncClient, clock: Any) -> None:
    old = (await api.post("/keys", json=ORDER)).json()["record"]
    clock.at_s += 1
    answer = await api.post(f"/keys/{old['id']}/rotate", json={"overlap_s": 60, "reason": "yearly"})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert made["replaced"] == old | {"expires_at_s": 1_061.0}
    clock.at_s += 60
    assert [key["name"] for key in (await api.get("/keys")).json()["keys"]] == ["dev", "web"]
    every = (await api.get("/keys?all=true")).json()["keys"]
    assert [key["status"] for key in every] == ["live", "expired", "live"]
    answer = await api.post(f"/keys/{made['record']['id']}/revoke", json={"reason": "leaked"})
    assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    page = (await api.get("/keys/history?limit=2")).json()
    assert [(entry["command"], entry["reason"], entry["actor"]) for entry in page["entries"]] == [
        ("revoke", "leaked", "ann"),
        ("rotate", "yearly", "ann"),
    ]
    rest = (await api.get(f"/keys/history?before={page['before']}")).json()
    assert [entry["command"] for entry in rest["entries"]] == ["create", "create"]
    assert rest["before"] is None


@pytest.mark.parametrize(
    ("change", "status", "name"),
    [
        ({"reason": ""}, 422, "invalid-request"),
        ({"name": "a b"}, 422, "invalid-argument"),
        ({"name": "a\n"}, 422, "invalid-argument"),
        ({"name": "x" * 65}, 422, "invalid-request"),
        ({"tenant": "../x"}, 422, "invalid-argument"),
        ({"features": []}, 422, "invalid-request"),
        ({"features": ["drft"]}, 422, "invalid-argument"),
        ({"roles": ["king"]}, 422, "invalid-request"),
        ({"priority": "urgent"}, 422, "invalid-request"),
        ({"requests_per_minute": 0}, 422, "invalid-request"),
        ({"tokens_per_minute": 1.5}, 422, "invalid-request"),
        ({"concurrent_max": True}, 422, "invalid-request"),
        ({"budget_microusd_per_day": 10**16}, 422, "invalid-request"),
        ({"expires_in_s": 1}, 422, "invalid-argument"),
        ({"colour": "red"}, 422, "invalid-request"),
    ],
)
async def test_what_cannot_be_meant_makes_no_key(
    api: httpx2.AsyncClient, seeded: Store, change: dict[str, Any], status: int, name: str
) -> None:
    assert assert_problem(await api.post("/keys", json=ORDER | change), status, name)["hint"]
    assert len(await seeded.list_keys()) == 1


async def test_numbers_that_are_none_are_refused(api: httpx2.AsyncClient, first: KeyRecord) -> None:
    for path, field in (("/keys", "expires_in_s"), (f"/keys/{first.id}/rotate", "overlap_s")):
        for number in ("NaN", "Infinity"):
            body = f'{{"name": "web", "tenant": "acme", "reason": "r", "{field}": {number}}}'
            assert (await api.post(path, content=body)).status_code == 422


async def test_the_rules_are_told_as_problems(api: httpx2.AsyncClient, first: KeyRecord) -> None:
    refused = assert_problem(await api.post(f"/keys/{first.id}/revoke", json=WHY), 409, "key-refused")
    assert "--force" in refused["hint"]
    assert_problem(await api.post(f"/keys/{first.id}/rotate", json=WHY | {"overlap_s": 0}), 409, "key-refused")
    assert_problem(await api.post("/keys/key_none/revoke", json=WHY), 404, "unknown-key")
    for _ in range(2):
        assert (await api.post("/keys", json=ORDER)).status_code == 201
    assert "revoke one" in assert_problem(await api.post("/keys", json=ORDER), 409, "key-refused")["hint"]
    secret = assert_problem(await api.post("/keys/gp-hush/revoke", json=WHY), 422, "invalid-argument")
    assert "hush" not in str(secret)
    forced = await api.post(f"/keys/{first.id}/revoke", json=WHY | {"force": True})
    assert forced.json()["status"] == "revoked"


@pytest.mark.parametrize("holder", ["viewer:v", "operator:o", "approver:a", ""])
async def test_only_admins_may_even_look(api: httpx2.AsyncClient, first: KeyRecord, holder: str) -> None:
    headers = {"Authorization": f"Bearer {holder}"}
    answers = [
        await api.get("/keys", headers=headers),
        await api.get("/keys/history", headers=headers),
        await api.post("/keys", json=ORDER, headers=headers),
        await api.post(f"/keys/{first.id}/rotate", json=WHY, headers=headers),
        await api.post(f"/keys/{first.id}/revoke", json=WHY | {"force": True}, headers=headers),
    ]
    for answer in answers:
        assert_problem(answer, 403 if holder else 401, "refused")
    assert len((await api.get("/keys")).json()["keys"]) == 1


async def test_without_the_store_nothing_changes(api: httpx2.AsyncClient, outage: Any) -> None:
    outage.begin()
    for answer in (await api.get("/keys"), await api.post("/keys", json=ORDER)):
        assert_problem(answer, 503, "store-unavailable")
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=0", f"before={2**63}"])
async def test_pages_are_bounded(api: httpx2.AsyncClient, query: str) -> None:
    assert_problem(await api.get(f"/keys/history?{query}"), 422, "invalid-request")


async def test_a_damaged_record_is_told(api: httpx2.AsyncClient, seeded: Store, store_path: Path) -> None:
    with closing(sqlite3.connect(store_path)) as db:
        db.execute("INSERT INTO keys VALUES ('key_x', '{}')")
        db.commit()
    assert_problem(await api.get("/keys"), 503, "invalid-document")
