"""Keys from the operator's command to the caller's request: made, used, revoked; and where a request may carry one."""

from pathlib import Path

import httpx2
import pytest

from gateway.admin import authorizer, build_admin
from gateway.auth import Keyring, first_key_record, new_key
from gateway.core.errors import ApiError
from gateway.metrics import Metrics
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.api.router import router
from rollout.follower import Follower
from rollout.keys.api import key_router
from rollout.keys.follower import KeyFollower
from rollout.keys.uses import KeyUses

CALL = {"model": "copilot/draft", "messages": [], "user": "u"}
ADMIN = {"authorization": "Bearer gp-first"}


class Workers:
    """There are none: the keyring is the test's own."""

    async def collect(self) -> Metrics:
        return Metrics()

    async def catch_up(self) -> None:
        """Nobody to tell."""

    def unready(self) -> str | None:
        return None


class Gateway:
    """The admin port over a store, wired as the gateway wires it."""

    def __init__(self, path: Path) -> None:
        self.store, clock = SqliteStore(path / "store.db"), WallClock()
        self.keyring = Keyring()
        self.follower = KeyFollower(self.store, clock, self.keyring.replace, last_good=path / "last-good-keys.json")
        self.uses = KeyUses(self.store, self.keyring.take_uses)
        authorize = authorizer(self.keyring)
        api = router(self.store, Follower(self.store, clock), clock, authorize)
        api.include_router(key_router(self.store, clock, authorize, new_key, self.follower.refresh))
        app = build_admin(api, Workers())
        transport = httpx2.ASGITransport(app=app)
        self.admin = httpx2.AsyncClient(transport=transport, base_url="http://admin/api/v1", headers=ADMIN)

    def knows(self, key: str) -> bool:
        try:
            return bool(self.keyring.find({b"x-api-key": key.encode()}, WallClock().now_s()))
        except ApiError:
            return False


@pytest.fixture
async def wired(tmp_path: Path, stack) -> Gateway:
    gateway = Gateway(tmp_path)
    stack.push_async_callback(gateway.store.close)
    await stack.enter_async_context(gateway.admin)
    await gateway.store.create_key_if_empty(first_key_record("gp-first", 0.0, name="dev"))
    await gateway.follower.refresh()
    return gateway


async def test_a_key_works_at_once_until_it_is_revoked(wired: Gateway, tmp_path: Path) -> None:
    answer = await wired.admin.post("/keys", json={"name": "web", "concurrent_max": 4, "reason": "r"})
    made = answer.json()
    key = made["key"]
    assert key.startswith("gp-")
    assert wired.knows(key)
    assert wired.keyring.find({b"api-key": key.encode()}, 1.0).concurrent_max == 4
    assert key not in (tmp_path / "last-good-keys.json").read_text()
    assert (await wired.admin.get("/keys", headers={"authorization": f"Bearer {key}"})).status_code == 403
    await wired.admin.post(f"/keys/{made['record']['id']}/revoke", json={"reason": "leaked"})
    assert not wired.knows(key)


async def test_a_use_shows_in_the_list(wired: Gateway) -> None:
    assert (await wired.admin.get("/keys")).json()["keys"][0]["last_used_at_s"] is None
    await wired.uses.flush()
    assert (await wired.admin.get("/keys")).json()["keys"][0]["last_used_at_s"] > 1_700_000_000


async def test_a_gateway_that_starts_without_its_store_knows_its_keys(wired: Gateway, tmp_path: Path) -> None:
    (tmp_path / "store.db").rename(tmp_path / "away")
    again = Gateway(tmp_path)
    assert again.knows("gp-first")
    assert not await again.follower.refresh()
    assert again.knows("gp-first")
    await again.store.close()
    await again.admin.aclose()


async def test_the_admin_port_refuses_two_keys_that_disagree(wired: Gateway) -> None:
    for headers in (
        [("authorization", "Bearer gp-first"), ("authorization", "Bearer gp-other")],
        [("authorization", "Bearer gp-other"), ("authorization", "Bearer gp-first")],
        [("authorization", "Bearer gp-first"), ("x-api-key", "gp-other")],
    ):
        wired.admin.headers = httpx2.Headers(headers)
        assert (await wired.admin.get("/keys")).status_code == 401
    wired.admin.headers = httpx2.Headers([("x-api-key", "gp-first")])
    assert (await wired.admin.get("/keys")).status_code == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("x-api-key: {key}",), 200),
        (("api-key: {key}",), 200),
        (("Authorization: Bearer {key}", "X-Api-Key: {key}"), 200),
        (("authorization: Bearer {key}", "authorization: Bearer {key}"), 400),
        (("authorization: Bearer {key}", "x-api-key: gp-other"), 401),
        (("authorization: Bearer gp-other", "authorization: Bearer {key}"), 400),
        (("authorization: Bearer {key}", "authorization: Bearer gp-other"), 400),
        (("x-api-key: gp-other", "x-api-key: {key}"), 400),
        (("x-api-key: gp-other",), 401),
    ],
)
async def test_where_a_relay_request_carries_its_key(
    relay_gateway, upstream, wire, lines: tuple[str, ...], status: int
) -> None:
    server = await upstream(wire.plain('{"choices":[]}'))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(CALL, *(line.format(key=wire.key) for line in lines), key=None)
    assert (await caller.answer()).status == status
    for request in server.requests:
        assert wire.key not in str(request.headers)
