# ruff: noqa: ASYNC240  these tests may block their own loop

"""The audit log as a stream, and a loss of data accepted, as an operator's client asks for them."""

from pathlib import Path
from typing import Any

import httpx2
import pytest

from rollout.cli.audit_export import import_lines
from rollout.core.audit import replay
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features


@pytest.fixture
def api(seeded: Store, follower: Follower, clock: Any, operator_api: Any) -> Any:
    return operator_api(seeded, follower, clock, "viewer,operator,admin:ann")


async def set_share(api: httpx2.AsyncClient, revision: int) -> None:
    body, headers = {"share_millipct": revision, "reason": "r"}, {"If-Match": f'"{revision}"'}
    assert (await api.put("/features/summarize/share", json=body, headers=headers)).status_code == 200


async def test_the_audit_log_replays_to_the_state(api: httpx2.AsyncClient, seeded: Store) -> None:
    for revision in range(1, 4):
        await set_share(api, revision)
    answer = await api.get("/audit")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    entries = list(import_lines(answer.content.splitlines()))
    assert [entry.id for entry in entries] == [1, 2, 3, 4, 5]
    assert replay(entries) == (await seeded.load())[1]


async def test_the_audit_log_goes_on_after_what_was_read(api: httpx2.AsyncClient) -> None:
    await set_share(api, 1)
    (entry,) = import_lines((await api.get("/audit?after=2")).content.splitlines())
    assert (entry.command, entry.id) == ("set-share", 3)
    nothing = await api.get("/audit?after=3")
    assert (nothing.status_code, nothing.content) == (200, b"")
    for query in ("after=-1", "after=x", f"after={2**63}"):
        assert (await api.get(f"/audit?{query}")).status_code == 422


async def test_without_the_store_there_is_no_log(api: httpx2.AsyncClient, store_path: Path) -> None:
    store_path.rename(store_path.with_name("away"))
    answer = await api.get("/audit")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:glidepath:problem:store-unavailable")


async def test_a_loss_is_accepted_by_an_admin(
    api: httpx2.AsyncClient, seeded: Store, follower: Follower, clock: Any, store_path: Path
) -> None:
    body = {"reason": "the disk is gone"}
    assert (await api.post("/store/accept-loss", json=body)).json() == {"accepted": False, "version": None}
    refused = await api.post("/store/accept-loss", json=body, headers={"Authorization": "viewer,operator:eve"})
    assert refused.status_code == 403
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        store_path.with_name(name).unlink(missing_ok=True)
    store_path.touch()
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    assert not await follower.refresh()
    answer = (await api.post("/store/accept-loss", json=body)).json()
    assert (answer["accepted"], answer["version"]) == (True, (await seeded.position()).version)
    assert follower.flags["summarize"].candidate == "inhouse-2"
