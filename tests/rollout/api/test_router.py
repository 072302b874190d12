# ruff: noqa: ASYNC240  these tests may block their own loop

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, Header, HTTPException
from msgspec.structs import replace

from rollout import kill_file
from rollout.api.router import router
from rollout.core.audit import record_change
from rollout.core.codec import parse_document
from rollout.core.evaluate import decide
from rollout.core.model import BUCKETS, Arm, Eligibility, Reason, Subject
from rollout.follower import Follower
from rollout.ports import Store

RANKS = ("viewer", "operator", "approver", "admin")


def authorize(*roles: str) -> Callable[..., str]:
    """The simplest mounting application: the header names the actor as "role:name"."""

    def actor(authorization: str | None = Header(default=None)) -> str:
        if authorization is None:
            raise HTTPException(401, "a key is needed", {"WWW-Authenticate": "Bearer"})
        held, _, name = authorization.removeprefix("Bearer ").partition(":")
        if RANKS.index(held) < min(map(RANKS.index, roles)):
            raise HTTPException(403, f"the key lacks the role {' or '.join(roles)}")
        return name

    return actor


Call = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
async def api(seeded: Store, follower: Follower, clock: Any) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    app.include_router(router(seeded, follower, clock, authorize), prefix="/api/v1")
    transport = httpx2.ASGITransport(app)
    headers = {"Authorization": "Bearer operator:ann"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers) as client:
        yield client


@pytest.fixture
def outage(store_path: Path) -> Callable[[], None]:
    def take_away() -> None:
        store_path.rename(store_path.with_name("away"))

    return take_away


async def set_share(api: httpx2.AsyncClient, share: str, revision: int) -> httpx2.Response:
    body = {"share": share, "reason": "ramp"}
    return await api.put("/features/summarize/share", json=body, headers={"If-Match": f'"{revision}"'})


async def kill(api: httpx2.AsyncClient, feature: str = "summarize") -> httpx2.Response:
    return await api.post(f"/features/{feature}/kill", json={"reason": "errors"})


async def unkill(api: httpx2.AsyncClient) -> httpx2.Response:
    return await api.post("/features/summarize/unkill", json={"reason": "mended"})


def assert_problem(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "hint"}
    assert (body["type"], body["status"]) == (f"urn:glidepath:problem:{name}", status)
    return body


def reason_in_force(follower: Follower) -> Reason:
    return decide(follower.snapshot, "summarize", Subject("c")).reason


async def test_features_are_listed_with_what_is_in_force(api: httpx2.AsyncClient) -> None:
    body = (await api.get("/features")).json()
    assert [flag["feature"] for flag in body["features"]] == ["draft", "summarize"]
    assert (body["version"], body["store"], body["age_s"], body["last_error"]) == (2, "ok", 0.0, None)
    first = body["features"][0]
    assert first["share"] == "0%"
    assert first["in_force_millipct"] == 0
    assert first["salt"] == "draft"
    assert first["bucketBy"] == "conversation"
    assert first["holdout"] == {"millipct": 0, "salt": "draft:holdout"}


async def test_a_feature_has_its_revision_as_etag(api: httpx2.AsyncClient) -> None:
    answer = await api.get("/features/summarize")
    assert (answer.status_code, answer.headers["etag"], answer.json()["revision"]) == (200, '"1"', 1)
    hint = assert_problem(await api.get("/features/sumarize"), 404, "unknown-feature")["hint"]
    assert "did you mean summarize" in hint


@pytest.mark.parametrize(
    ("body", "millipct"), [({"share": "12.5%"}, 12_500), ({"share_millipct": 1}, 1), ({"share": "100%"}, BUCKETS)]
)
async def test_a_share_is_set_and_in_force_at_once(
    api: httpx2.AsyncClient, follower: Follower, body: dict[str, Any], millipct: int
) -> None:
    answer = await api.put(
        "/features/summarize/share",
        json=body | {"reason": "ramp"},
        headers={"If-Match": (await api.get("/features/summarize")).headers["etag"]},
    )
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert answer.json()["share_millipct"] == answer.json()["in_force_millipct"] == millipct
    assert follower.snapshot.features["summarize"].flag.share_millipct == millipct


async def test_of_two_edits_of_one_revision_one_is_refused_with_the_fresh_state(api: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(set_share(api, "10%", 1), set_share(api, "20%", 1))
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert won.status_code == 200
    body = assert_problem(lost, 412, "revision-conflict")
    assert body["current"]["share"] == won.json()["share"]
    assert lost.headers["etag"] == won.headers["etag"] == '"2"'
    assert_problem(await set_share(api, "30%", 7), 412, "revision-conflict")


async def test_a_share_needs_if_match(api: httpx2.AsyncClient) -> None:
    answer = await api.put("/features/summarize/share", json={"share": "1%", "reason": "r"})
    assert "If-Match" in assert_problem(answer, 428, "precondition-missing")["hint"]
    for value in ("*", '"1", "2"', 'W/"1"', "x"):
        answer = await api.put(
            "/features/summarize/share", json={"share": "1%", "reason": "r"}, headers={"If-Match": value}
        )
        assert_problem(answer, 422, "invalid-argument")
    assert (await set_share(api, "1%", 1)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"share": "1%"},
        {"share": "1%", "reason": ""},
        {"share": "1%", "reason": "x" * 501},
        {"share": "1%", "share_millipct": 1000, "reason": "r"},
        {"reason": "r"},
        {"share_millipct": 100_001, "reason": "r"},
        {"share_millipct": True, "reason": "r"},
        {"share_millipct": 1.0, "reason": "r"},
        {"share": 25, "reason": "r"},
        {"share": "1%", "reason": "r", "shares": 1},
        [],
        None,
    ],
)
async def test_a_malformed_change_is_refused(api: httpx2.AsyncClient, body: Any) -> None:
    answer = await api.put("/features/summarize/share", json=body, headers={"If-Match": '"1"'})
    assert_problem(answer, 422, "invalid-request")
    assert (await api.get("/features/summarize")).json()["revision"] == 1


@pytest.mark.parametrize(("share", "reason"), [("0.25", "r"), ("0.0001%", "r"), ("101%", "r"), ("1%", "  ")])
async def test_a_change_that_cannot_be_meant_is_refused(api: httpx2.AsyncClient, share: str, reason: str) -> None:
    body = {"share": share, "reason": reason}
    answer = await api.put("/features/summarize/share", json=body, headers={"If-Match": '"1"'})
    assert assert_problem(answer, 422, "invalid-argument")["hint"]


async def test_roles_are_the_mounting_applications(api: httpx2.AsyncClient) -> None:
    api.headers.pop("Authorization")
    answer = await api.get("/features")
    assert_problem(answer, 401, "refused")
    assert answer.headers["www-authenticate"] == "Bearer"
    api.headers["Authorization"] = "Bearer viewer:vic"
    assert (await api.get("/features")).status_code == 200
    for refused in (await kill(api), await unkill(api), await set_share(api, "1%", 1)):
        assert "operator" in assert_problem(refused, 403, "refused")["title"] + refused.json()["detail"]


async def test_a_kill_and_its_lifting_restore_the_share(api: httpx2.AsyncClient, follower: Follower) -> None:
    await set_share(api, "100%", 1)
    assert decide(follower.snapshot, "summarize", Subject("c")).arm is Arm.CANDIDATE
    body = (await kill(api)).json()
    assert (body["killed"], body["store"], body["flag"]["in_force_millipct"]) == (True, "ok", 0)
    assert body["flag"]["share_millipct"] == BUCKETS
    assert (body["flag"]["kill"]["actor"], body["flag"]["kill"]["reason"]) == ("ann", "errors")
    assert reason_in_force(follower) is Reason.KILLED
    assert not body["flag"]["killed_locally"]
    assert not follower.killed_locally
    body = (await unkill(api)).json()
    assert (body["killed"], body["flag"]["share"], body["flag"]["in_force_millipct"]) == (False, "100%", BUCKETS)
    assert decide(follower.snapshot, "summarize", Subject("c")).arm is Arm.CANDIDATE


async def test_killing_twice_and_lifting_twice_change_nothing_more(api: httpx2.AsyncClient) -> None:
    first, second = (await kill(api)).json(), (await kill(api)).json()
    assert first["flag"]["revision"] == second["flag"]["revision"] == 2
    assert [(await unkill(api)).json()["flag"]["revision"] for _ in range(2)] == [3, 3]


async def test_a_killed_feature_cannot_be_raised(api: httpx2.AsyncClient) -> None:
    await set_share(api, "10%", 1)
    await kill(api)
    assert_problem(await set_share(api, "20%", 3), 409, "share-increase-refused")
    assert (await set_share(api, "5%", 3)).json()["in_force_millipct"] == 0
    assert (await unkill(api)).json()["flag"]["in_force_millipct"] == 5_000


async def test_kills_among_racing_edits_all_come_through(api: httpx2.AsyncClient, follower: Follower) -> None:
    edits = [set_share(api, f"{number}%", 1) for number in range(20)]
    answers = await asyncio.gather(*edits, kill(api))
    assert answers[-1].status_code == 200
    assert reason_in_force(follower) is Reason.KILLED


async def test_a_kill_works_with_the_store_down(
    api: httpx2.AsyncClient, follower: Follower, outage: Any, kill_path: Path
) -> None:
    await set_share(api, "100%", 1)
    outage()
    answer = await kill(api)
    body = answer.json()
    assert (answer.status_code, body["killed"], body["flag"]) == (200, True, None)
    assert body["store"] == "unavailable, killed on this replica"
    assert reason_in_force(follower) is Reason.KILLED
    assert kill_path.read_text() == "summarize  # ann: errors\n"
    assert_problem(await kill(api, "sumarize"), 404, "unknown-feature")
    assert_problem(await unkill(api), 503, "store-unavailable")
    assert reason_in_force(follower) is Reason.KILLED


async def test_lifting_lifts_both_kills(
    api: httpx2.AsyncClient, follower: Follower, outage: Any, store_path: Path, kill_path: Path
) -> None:
    await set_share(api, "100%", 1)
    outage()
    await kill(api)
    store_path.with_name("away").rename(store_path)
    body = (await api.get("/features/summarize")).json()
    assert (body["killed_locally"], body["in_force_millipct"], body["kill"]["on"]) == (True, 0, False)
    assert (await kill(api)).json()["store"] == "ok"
    assert (await unkill(api)).json()["killed"] is False
    assert kill_path.read_text() == ""
    assert reason_in_force(follower) is Reason.SPLIT


async def test_a_kill_by_hand_is_not_taken_back_by_a_kill_through_the_api(
    api: httpx2.AsyncClient, follower: Follower, kill_path: Path
) -> None:
    kill_file.add(kill_path, "summarize", "by hand")
    await follower.read_kill_file()
    await kill(api)
    assert kill_path.read_text() == "summarize  # by hand\n"


async def test_a_feature_killed_on_this_replica_cannot_be_raised(
    api: httpx2.AsyncClient, follower: Follower, kill_path: Path
) -> None:
    await set_share(api, "10%", 1)
    for killed in ("summarize", "*"):
        kill_file.add(kill_path, killed, "by hand")
        await follower.read_kill_file()
        assert_problem(await set_share(api, "20%", 2), 409, "share-increase-refused")
        kill_file.remove(kill_path, killed)
    assert (await set_share(api, "5%", 2)).json()["share"] == "5%"


async def test_a_star_in_the_kill_file_is_lifted_by_hand_only(
    api: httpx2.AsyncClient, follower: Follower, kill_path: Path
) -> None:
    kill_file.add(kill_path, "*", "")
    await follower.read_kill_file()
    assert_problem(await unkill(api), 409, "share-increase-refused")


async def test_a_kill_that_nothing_can_record_says_so(
    api: httpx2.AsyncClient, follower: Follower, outage: Any, kill_path: Path
) -> None:
    kill_path.parent.write_text("in the way") if not kill_path.parent.exists() else None
    outage()
    body = assert_problem(await kill(api), 500, "failed")
    assert "this process has killed it" in body["hint"]
    assert reason_in_force(follower) is Reason.KILLED


async def test_an_unwritable_kill_file_does_not_stop_a_kill_in_the_store(
    api: httpx2.AsyncClient, follower: Follower, kill_path: Path
) -> None:
    kill_path.parent.write_text("in the way")
    answer = await kill(api)
    assert reason_in_force(follower) is Reason.KILLED
    assert (answer.status_code, answer.json()["store"]) == (200, "ok")


async def test_a_cold_start_without_the_store_can_still_be_killed(
    seeded: Store, clock: Any, kill_path: Path, outage: Any
) -> None:
    await seeded.version()
    outage()
    follower = Follower(seeded, clock, kill_file=kill_path)
    app = FastAPI()
    app.include_router(router(seeded, follower, clock, authorize))
    headers = {"Authorization": "Bearer operator:ann"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api", headers=headers) as api:
        assert (await kill(api)).json()["store"] == "unavailable, killed on this replica"
        assert_problem(await api.get("/features"), 503, "store-unavailable")
        for name in ("a%0A*", "%2A", "x" * 65):
            assert_problem(await kill(api, name), 422, "invalid-request")
    assert kill_path.read_text() == "summarize  # ann: errors\n"


async def test_with_the_store_down_reads_show_the_last_good(api: httpx2.AsyncClient, outage: Any, clock: Any) -> None:
    await set_share(api, "25%", 1)
    outage()
    clock.at_s += 7
    body = (await api.get("/features")).json()
    assert (body["store"], body["age_s"]) == ("unavailable, this is the last good snapshot", 7.0)
    one = (await api.get("/features/summarize")).json()
    assert (one["share"], one["store"]) == ("25%", "unavailable, this is the last good snapshot")
    answer = await set_share(api, "26%", 2)
    assert_problem(answer, 503, "store-unavailable")
    assert answer.headers["retry-after"] == "1"
    assert_problem(await api.get("/features/summarize/history"), 503, "store-unavailable")


async def test_history_tells_who_what_and_why_in_pages(api: httpx2.AsyncClient) -> None:
    for revision in range(1, 5):
        await set_share(api, f"{revision}%", revision)
    await kill(api)
    first = (await api.get("/features/summarize/history?limit=2")).json()
    assert [entry["command"] for entry in first["entries"]] == ["kill", "set-share"]
    assert first["entries"][1]["share_before_millipct"] == 3_000
    assert (first["entries"][0]["actor"], first["entries"][0]["reason"]) == ("ann", "errors")
    rest = (await api.get(f"/features/summarize/history?limit=9&before={first['before']}")).json()
    assert [entry["command"] for entry in rest["entries"]] == ["set-share"] * 3 + ["create"]
    assert rest["before"] is None
    assert first["entries"][0]["verdicts"] == []
    assert_problem(await api.get("/features/x/history"), 404, "unknown-feature")
    assert len((await api.get(f"/features/summarize/history?before={2**63 - 1}")).json()["entries"]) == 6
    beyond = (f"before={2**63}", "before=99999999999999999999999", "before=0", "limit=99999999999999999999999")
    for query in ("limit=0", "limit=501", "before=x", *beyond):
        assert_problem(await api.get(f"/features/summarize/history?{query}"), 422, "invalid-request")


async def test_explain_shows_the_decision_of_this_replica(api: httpx2.AsyncClient, follower: Follower) -> None:
    await set_share(api, "50%", 1)
    body = (await api.post("/features/summarize/explain", json={"user": "user-1"})).json()
    decision = decide(follower.snapshot, "summarize", Subject(None, "user-1"))
    assert (body["arm"], body["bucket"], body["unit_kind"]) == (decision.arm.value, decision.bucket, "user")
    assert [step["check"] for step in body["steps"]][-1] == "split"
    assert (await api.post("/features/summarize/explain", json={})).json()["reason"] == "NO_UNIT"
    for wrong in ({"n" * 65: "v"}, {str(number): "v" for number in range(17)}):
        answer = await api.post("/features/summarize/explain", json={"attributes": wrong})
        assert_problem(answer, 422, "invalid-request")
    assert_problem(await api.post("/features/x/explain", json={}), 404, "unknown-feature")
    assert_problem(await api.post("/features/summarize/explain", json={"usr": "x"}), 422, "invalid-request")


async def test_explain_reads_attributes_as_rules_do(api: httpx2.AsyncClient, seeded: Store, follower: Follower) -> None:
    before = await seeded.get("summarize")
    assert before is not None
    rule = {"and": [{"==": [{"var": "plan"}, "pro"]}, {"in": ["beta", {"var": "groups"}]}]}
    after = replace(before, share_millipct=BUCKETS, eligibility=Eligibility(attributes=rule))
    entry = record_change(before, after, actor="ann", command="change", reason="r", at_s=1.0)
    await seeded.put_if_revision(after, before.revision, entry)
    assert await follower.refresh()
    asked: dict[str, Any] = {"user": "u", "attributes": {"plan": "pro", "groups": ["beta"], "seats": 3}}
    assert (await api.post("/features/summarize/explain", json=asked)).json()["arm"] == "candidate"
    body = (await api.post("/features/summarize/explain", json={"user": "u", "attributes": {"plan": "free"}})).json()
    assert body["reason"] == "INELIGIBLE"
    assert "plan='free'" in body["steps"][-1]["found"]


@pytest.mark.parametrize(
    "attributes",
    [{"": "x"}, {"tenant": "x"}, {"plan": None}, {"plan": {}}, {"plan": [1]}, {"plan": "x" * 513}, {"a" * 65: 1}, [],
     {str(number): 1 for number in range(17)}],
)  # fmt: skip
async def test_attributes_that_no_rule_can_read_are_refused(api: httpx2.AsyncClient, attributes: Any) -> None:
    answer = await api.post("/features/summarize/explain", json={"attributes": attributes})
    assert_problem(answer, 422, "invalid-request")


async def test_the_document_can_be_exported_and_read_again(api: httpx2.AsyncClient, seeded: Store) -> None:
    await set_share(api, "25%", 1)
    exported = (await api.get("/documents")).json()
    assert parse_document(exported) == (await seeded.load())[1]


async def test_the_api_describes_itself(seeded: Store, follower: Follower, clock: Any) -> None:
    app = FastAPI()
    app.include_router(router(seeded, follower, clock, authorize), prefix="/api/v1")
    paths = app.openapi()["paths"]
    assert "/api/v1/features/{feature}/share" in paths
    refused = paths["/api/v1/features/{feature}/share"]["put"]["responses"]["412"]["content"]
    assert refused["application/problem+json"]["schema"]["properties"]["hint"] == {"type": "string"}
