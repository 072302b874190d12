"""The operator's port: roles, metrics, and errors as problems with a hint."""

from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from gateway.admin import authorizer, build_admin
from gateway.auth import Keyring, first_key_record
from gateway.metrics import Metrics
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.api.router import router
from rollout.follower import Follower
from rollout.seed import ensure_features


class Workers:
    """Stands for the fleet of processes."""

    def __init__(self) -> None:
        self.counted, self.shown = 0, Metrics()
        self.caught_up = 0
        self.reason: str | None = None

    async def collect(self) -> Metrics:
        self.shown.units.add(("draft", "user"), self.counted)
        return self.shown

    async def catch_up(self) -> None:
        self.caught_up += 1

    def unready(self) -> str | None:
        return self.reason


class Admin:
    """The application behind a client, without a socket."""

    def __init__(self, client: httpx2.AsyncClient, workers: Workers) -> None:
        self.client, self.workers = client, workers


def key(name: str, *roles: str):
    return replace(first_key_record(f"gp-{name}", 0.0, name=name), id=name, roles=roles)


@pytest.fixture
async def admin(tmp_path: Path, stack) -> Admin:
    store, clock = SqliteStore(tmp_path / "store.db"), WallClock()
    stack.push_async_callback(store.close)
    await ensure_features(store, {"draft": ("inhouse", "partner")}, clock)
    follower = Follower(store, clock)
    await follower.refresh()
    keyring, workers = Keyring(), Workers()
    keyring.replace([key("viewer", "viewer"), key("operator", "operator"), key("admin", "admin"), key("nobody")])
    app = build_admin(router(store, follower, clock, authorizer(keyring)), workers)
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin")
    return Admin(await stack.enter_async_context(client), workers)


def as_(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer gp-{name}"}


@pytest.mark.parametrize(
    ("name", "reads", "writes"),
    [("viewer", 200, 403), ("operator", 200, 200), ("admin", 200, 200), ("nobody", 403, 403), ("stranger", 401, 401)],
)
async def test_each_role_may_do_its_own(admin: Admin, name: str, reads: int, writes: int) -> None:
    read = await admin.client.get("/api/v1/features/draft", headers=as_(name))
    assert read.status_code == reads
    body = {"share_millipct": 1_000, "reason": "test"}
    written = await admin.client.put(
        "/api/v1/features/draft/share", json=body, headers={**as_(name), "if-match": '"1"'}
    )
    assert written.status_code == writes
    for answer in (read, written):
        if answer.status_code >= 400:
            problem = answer.json()
            assert answer.headers["content-type"] == "application/problem+json"
            assert problem["status"] == answer.status_code
            assert {"type", "title", "detail"} <= set(problem)


async def test_without_a_key_the_answer_says_how_to_send_one(admin: Admin) -> None:
    answer = await admin.client.get("/api/v1/features")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_actor_of_a_change_is_the_key_not_what_the_caller_says(admin: Admin) -> None:
    body = {"share_millipct": 1_000, "reason": "test"}
    await admin.client.put("/api/v1/features/draft/share", json=body, headers={**as_("operator"), "if-match": '"1"'})
    history = (await admin.client.get("/api/v1/features/draft/history", headers=as_("admin"))).json()
    assert "operator" in str(history)


async def test_an_unknown_path_is_a_problem_with_a_hint(admin: Admin) -> None:
    answer = await admin.client.get("/nothing")
    assert (answer.status_code, answer.json()["hint"]) == (404, "GET /openapi.json lists what there is")


async def test_health_and_metrics_need_no_key(admin: Admin) -> None:
    assert (await admin.client.get("/healthz")).json() == {"status": "ok"}
    assert (await admin.client.get("/metrics")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", "text/plain"), ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text")],
)
async def test_metrics_include_what_was_settled_just_now(admin: Admin, accept: str, kind: str) -> None:
    admin.workers.counted = 3
    answer = await admin.client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(kind)
    assert 'glidepath_units_total{feature="draft",unit="user"} 3.0' in answer.text


async def test_whoever_changed_something_finds_it_in_force(admin: Admin) -> None:
    await admin.client.get("/api/v1/features/draft", headers=as_("admin"))
    assert admin.workers.caught_up == 0
    body = {"share_millipct": 1_000, "reason": "test"}
    await admin.client.put("/api/v1/features/draft/share", json=body, headers={**as_("admin"), "if-match": '"1"'})
    assert admin.workers.caught_up == 1


async def test_readiness_is_the_workers(admin: Admin) -> None:
    assert (await admin.client.get("/readyz")).json() == {"status": "ready"}
    admin.workers.reason = "no worker is ready"
    answer = await admin.client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "no worker is ready")
    assert answer.headers["retry-after"] == "1"
    assert (await admin.client.get("/healthz")).status_code == 200
