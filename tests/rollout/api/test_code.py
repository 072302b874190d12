import json
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from rollout.adapters.sqlite import SqliteStore
from rollout.api.code import DOCUMENT_MAX_BYTES
from rollout.api.router import router
from rollout.core.audit import record_change
from rollout.core.errors import RevisionConflict
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Phase
from rollout.follower import Follower
from rollout.ports import Store
from tests.rollout.admin_port import authorize_exactly

ENTRY: dict[str, Any] = {"candidate": "inhouse", "baseline": "partner"}
RAMP = {"steps": [{"share": 1_000, "bake": "1h", "min_samples": 100}]}


@pytest.fixture
def api(seeded: Store, follower: Follower, clock: Any, operator_api: Any) -> httpx2.AsyncClient:
    client: httpx2.AsyncClient = operator_api(seeded, follower, clock, "viewer,operator:ann")
    return client


def document(**features: dict[str, Any]) -> dict[str, Any]:
    return {"x-rollouts": features}


async def put(api: httpx2.AsyncClient, body: Any, **query: Any) -> httpx2.Response:
    return await api.put("/documents", json=body, params={"reason": "as reviewed"} | query)


def problem_of(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["type"]) == (status, f"urn:glidepath:problem:{name}")
    return body


async def test_a_dry_run_shows_what_would_change_and_then_it_does(api: httpx2.AsyncClient) -> None:
    body = document(summarize=ENTRY | {"owner": "writing", "ramp": RAMP})
    planned = (await put(api, body, dry_run=True, reason="")).json()
    assert planned["dry_run"] is True
    (feature,) = planned["features"]
    assert (feature["feature"], feature["action"], feature["commands"], feature["revision"]) == (
        "summarize",
        "change",
        ["create"],
        1,
    )
    assert {"path": "owner", "before": "", "after": "writing"} in feature["changes"]
    assert "no gate holds this ramp: time alone raises the share" in feature["warnings"]
    done = (await put(api, body)).json()
    assert (done["dry_run"], done["features"][0]["revision"]) == (False, 2)
    assert done["features"][0]["changes"] == feature["changes"]
    assert [each["action"] for each in (await put(api, body)).json()["features"]] == ["same"]


async def test_the_whole_document_as_given_changes_nothing(api: httpx2.AsyncClient) -> None:
    whole = (await api.get("/documents")).json()
    assert {each["action"] for each in (await put(api, whole)).json()["features"]} == {"same"}


async def test_faults_are_told_all_and_nothing_is_written(api: httpx2.AsyncClient, seeded: Store) -> None:
    bad = ENTRY | {"ramp": {"steps": [{"share": 5, "max_duration": "0s"}]}, "rollback": {"to_share": 9}}
    refused = problem_of(
        await put(api, document(summarize=bad, draft=ENTRY | {"owner": "me"})), 422, "document-refused"
    )
    assert len(refused["faults"]) == 2
    assert (await seeded.load())[0] == 2
    unknown = problem_of(await put(api, document(summarize=ENTRY | {"ownr": 1})), 422, "document-refused")
    assert "did you mean 'owner'" in unknown["detail"]
    twice = b'{"x-rollouts": {"f": {}, "f": {}}}'
    problem_of(await api.put("/documents", content=twice, params={"reason": "r"}), 422, "document-refused")
    problem_of(await put(api, document(draft=ENTRY), reason=""), 422, "invalid-argument")
    problem_of(await put(api, document(draft=ENTRY), dry_run="maybe"), 422, "invalid-request")
    problem_of(await api.put("/documents", content=b" " * (DOCUMENT_MAX_BYTES + 1)), 422, "invalid-argument")


async def test_a_document_of_another_revision_is_a_conflict(api: httpx2.AsyncClient) -> None:
    stale = problem_of(await put(api, document(draft=ENTRY | {"revision": 9})), 412, "revision-conflict")
    assert stale["written"] == []


async def test_a_plan_does_not_change_under_a_ramp_that_runs(api: httpx2.AsyncClient, seeded: Store) -> None:
    await put(api, document(draft=ENTRY | {"ramp": RAMP}))
    flag = await seeded.get("draft")
    assert flag is not None
    running = replace(flag, progress=replace(flag.progress, phase=Phase.RUNNING, step=0))
    entry = record_change(flag, running, actor="ann", command="start", reason="go", at_s=1.0)
    await seeded.put_if_revision(running, flag.revision, entry)
    other = {"steps": [{"share": 2_000, "bake": "1h"}]}
    refused = problem_of(await put(api, document(draft=ENTRY | {"ramp": other}), dry_run=True), 409, "ramp-refused")
    assert "pause draft" in refused["hint"]


async def test_what_was_written_before_a_rival_is_listed(
    seeded: Store, follower: Follower, clock: Any, store_path: Any, operator_api: Any
) -> None:
    class Contended(SqliteStore):
        async def put_if_revision(self, flag: FeatureFlag, *rest: Any, **named: Any) -> FeatureFlag:
            if flag.feature == "summarize":
                raise RevisionConflict("summarize", 1, flag)
            return await super().put_if_revision(flag, *rest, **named)

    contended = Contended(store_path)
    body = document(draft=ENTRY | {"owner": "me"}, summarize=ENTRY | {"owner": "me"})
    client = operator_api(contended, follower, clock)
    stopped = problem_of(await put(client, body), 412, "revision-conflict")
    await contended.close()
    assert (stopped["feature"], stopped["written"]) == ("summarize", ["draft"])


async def test_a_store_that_is_away_is_said(api: httpx2.AsyncClient, store_path: Any) -> None:
    store_path.rename(store_path.with_name("away"))
    problem_of(await put(api, document(draft=ENTRY), dry_run=True), 503, "store-unavailable")


async def test_a_plan_is_made_of_the_stored_ramp_or_of_a_document(api: httpx2.AsyncClient) -> None:
    problem_of(await api.post("/features/draft/plan"), 422, "document-refused")
    problem_of(await api.post("/features/drft/plan"), 404, "unknown-feature")
    given = json.dumps(document(draft=ENTRY | {"ramp": RAMP})).encode()
    unknown = (await api.post("/features/draft/plan", content=given)).json()
    assert (unknown["units_per_s"], unknown["total_s"], unknown["steps"][0]["needs_s"]) == (None, None, None)
    planned = (await api.post("/features/draft/plan?units_per_s=1", content=given)).json()
    assert (planned["steps"][0]["needs_s"], planned["total_s"]) == (10_000.0, 10_000.0)
    assert "at your traffic this step needs 2.78 h" in planned["steps"][0]["text"]
    for rate in ("0", "-1", "nan", "inf", "x"):
        answer = await api.post(f"/features/draft/plan?units_per_s={rate}", content=given)
        problem_of(answer, 422, "invalid-request")


async def test_the_doctor_answers(api: httpx2.AsyncClient) -> None:
    body = (await api.get("/doctor")).json()
    assert body["result"] == "ok"
    assert {"check", "result", "text", "hint"} == set(body["checks"][0])


async def test_roles_are_asked_one_by_one_and_needed(api: httpx2.AsyncClient) -> None:
    assert (await api.get("/roles/operator")).json() == {"role": "operator", "actor": "ann"}
    assert (await api.get("/roles/admin")).status_code == 403
    viewer = {"Authorization": "Bearer viewer:eve"}
    answer = await api.put("/documents", json=document(draft=ENTRY), headers=viewer)
    assert answer.status_code == 403
    assert (await api.get("/doctor", headers={"Authorization": "Bearer x:eve"})).status_code == 403


async def test_the_document_is_described(seeded: Store, follower: Follower, clock: Any) -> None:
    app = FastAPI()
    app.include_router(router(seeded, follower, clock, authorize_exactly), prefix="/api/v1")
    paths = app.openapi()["paths"]
    assert "application/json" in paths["/api/v1/documents"]["put"]["requestBody"]["content"]
    assert "412" in paths["/api/v1/documents"]["put"]["responses"]
