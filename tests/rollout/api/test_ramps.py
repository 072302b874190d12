# ruff: noqa: ASYNC240  these tests may block their own loop

"""The ramp's commands as an operator's client sends them, on a real store."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from rollout.api.router import router
from rollout.core.audit import record_change
from rollout.core.evaluate import decide
from rollout.core.model import FeatureFlag, Reason, Subject
from rollout.core.ramp_model import Phase, RampPlan, Rollback, Step
from rollout.follower import Follower
from rollout.ports import Store

PLAN = RampPlan(
    steps=(Step(share=1_000), Step(share=25_000, approval=True), Step(share=100_000)), cooldown="1h", post_monitor="1h"
)


@pytest.fixture
def api(ready: Store, follower: Follower, clock: Any, operator_api: Any) -> Any:
    return operator_api(ready, follower, clock, "viewer,operator:ann")


@pytest.fixture
async def ready(seeded: Store) -> Store:
    """The flag at revision 2, with a ramp that may be started."""
    await change(seeded, lambda flag: replace(flag, ramp=PLAN, progress=replace(flag.progress, phase=Phase.READY)))
    return seeded


async def change(store: Store, step: Any) -> FeatureFlag:
    before = await store.get("summarize")
    assert before is not None
    entry = record_change(before, step(before), actor="config", command="create", reason="r", at_s=1.0)
    return await store.put_if_revision(step(before), before.revision, entry)


async def post(api: httpx2.AsyncClient, verb: str, revision: int | None = None, **body: Any) -> httpx2.Response:
    """POST a verb; `actor` and `key` go into headers."""
    headers = {} if revision is None else {"If-Match": f'"{revision}"'}
    if "key" in body:
        headers["Idempotency-Key"] = body.pop("key")
    if "actor" in body:
        headers["Authorization"] = body.pop("actor")
    path = f"/features/summarize/{verb}" if verb in {"kill", "unkill"} else f"/features/summarize/ramp/{verb}"
    return await api.post(path, json={"reason": "it is time"} | body, headers=headers)


async def set_share(api: httpx2.AsyncClient, millipct: int, revision: int, key: str | None = None) -> httpx2.Response:
    headers = {"If-Match": f'"{revision}"'} | ({"Idempotency-Key": key} if key else {})
    return await api.put("/features/summarize/share", json={"share_millipct": millipct, "reason": "r"}, headers=headers)


async def flag_of(store: Store) -> FeatureFlag:
    flag = await store.get("summarize")
    assert flag is not None
    return flag


def assert_problem(answer: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["type"]) == (status, f"urn:glidepath:problem:{name}"), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["hint"] or name == "refused"
    return body


def reason_in_force(follower: Follower) -> Reason:
    return decide(follower.snapshot, "summarize", Subject("c")).reason


async def test_a_ramp_is_led_through_its_life_by_hand(api: httpx2.AsyncClient, ready: Store) -> None:
    started = await post(api, "start", 2)
    assert (started.status_code, started.headers["etag"], started.json()["share_millipct"]) == (200, '"3"', 1_000)
    steps: list[tuple[str, dict[str, Any], Phase, int]] = [
        ("pause", {}, Phase.PAUSED, 1_000),
        ("ack", {}, Phase.PAUSED, 1_000),
        ("extend", {"by": "2h"}, Phase.PAUSED, 1_000),
        ("resume", {}, Phase.RUNNING, 1_000),
        ("jump", {"step": 0}, Phase.PAUSED, 1_000),
        ("resume", {}, Phase.RUNNING, 1_000),
        ("complete", {}, Phase.COMPLETED, 1_000),
        ("rollback", {}, Phase.ROLLED_BACK, 0),
    ]
    for number, (verb, body, phase, share) in enumerate(steps, start=3):
        answer = await post(api, verb, number, **body)
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"{number + 1}"'), answer.text
        flag = await flag_of(ready)
        assert (flag.progress.phase, flag.share_millipct, flag.revision) == (phase, share, number + 1)
    assert_problem(await post(api, "restart", 11), 409, "ramp-refused")
    assert_problem(await post(api, "end", 11), 409, "ramp-refused")
    assert flag.progress.rolled_back is not None
    entries = await ready.history("summarize", 100)
    assert [entry.command for entry in entries][:2] == ["roll_back", "complete"]
    assert {(entry.actor, entry.reason) for entry in entries[:9]} == {("ann", "it is time")}


async def test_after_the_cooldown_a_ramp_begins_again_or_ends(
    api: httpx2.AsyncClient, ready: Store, clock: Any
) -> None:
    await post(api, "start", 2)
    await post(api, "rollback")
    clock.at_s += 3_600
    assert (await post(api, "restart", 4)).json()["share_millipct"] == 1_000
    assert (await flag_of(ready)).progress.attempt == 2
    await post(api, "end", 5)
    assert (await flag_of(ready)).progress.phase is Phase.DRAFT


@pytest.mark.parametrize("verb", ["start", "resume", "advance", "restart", "complete", "ack", "end"])
async def test_commands_that_move_need_the_revision_they_were_made_for(
    api: httpx2.AsyncClient, ready: Store, verb: str
) -> None:
    assert "If-Match" in assert_problem(await post(api, verb), 428, "precondition-missing")["hint"]
    body = assert_problem(await post(api, verb, 1), 412, "revision-conflict")
    assert (body["current"]["revision"], body["current"]["feature"]) == (2, "summarize")
    assert (await flag_of(ready)).revision == 2


async def test_of_two_commands_from_one_revision_one_is_refused(api: httpx2.AsyncClient) -> None:
    await post(api, "start", 2)
    answers = await asyncio.gather(post(api, "jump", 3, step=0), set_share(api, 500, 3), post(api, "end", 3))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
    lost = next(answer for answer in answers if answer.status_code == 412)
    assert (lost.headers["etag"], lost.json()["current"]["revision"]) == ('"4"', 4)


async def test_a_share_by_hand_pauses_the_automation(api: httpx2.AsyncClient, ready: Store) -> None:
    await post(api, "start", 2)
    assert (await set_share(api, 700, 3)).json()["share_millipct"] == 700
    flag = await flag_of(ready)
    assert (flag.progress.phase, flag.progress.step, flag.share_millipct) == (Phase.PAUSED, -1, 700)
    assert flag.progress.paused is not None
    assert flag.progress.paused.actor == "ann"


async def test_a_kill_pauses_and_its_lifting_leaves_it_paused(api: httpx2.AsyncClient, ready: Store) -> None:
    await post(api, "start", 2)
    await post(api, "kill")
    assert (await flag_of(ready)).progress.phase is Phase.PAUSED
    assert_problem(await post(api, "resume", 4), 409, "share-increase-refused")
    assert (await post(api, "unkill")).json()["flag"]["in_force_millipct"] == 1_000
    flag = await flag_of(ready)
    assert (flag.progress.phase, flag.kill.on, flag.share_millipct) == (Phase.PAUSED, False, 1_000)
    assert (await post(api, "resume", 5)).status_code == 200


async def test_what_the_phase_forbids_is_refused_with_what_is_possible(api: httpx2.AsyncClient) -> None:
    for verb in ("resume", "advance", "restart", "complete", "ack"):
        assert "possible now: " in assert_problem(await post(api, verb, 2), 409, "ramp-refused")["hint"]
    assert_problem(await post(api, "pause"), 409, "ramp-refused")
    assert (await api.get("/features/summarize")).json()["revision"] == 2


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("jump", {}),
        ("jump", {"step": -1}),
        ("jump", {"step": "1"}),
        ("jump", {"step": True}),
        ("extend", {}),
        ("approve", {"step": 100}),
        ("start", {"reason": ""}),
        ("start", {"step": 1}),
    ],
)
async def test_a_malformed_command_is_refused(api: httpx2.AsyncClient, verb: str, body: Any) -> None:
    answer = await post(api, verb, 2, actor="operator,approver:ann", **body)
    assert_problem(answer, 422, "invalid-request")


@pytest.mark.parametrize(
    ("verb", "body"), [("jump", {"step": 3}), ("extend", {"by": "2 hours"}), ("extend", {"by": "0s"})]
)
async def test_a_command_that_cannot_be_meant_is_refused(api: httpx2.AsyncClient, verb: str, body: Any) -> None:
    await post(api, "start", 2)
    assert_problem(await post(api, verb, 3, **body), 422, "invalid-argument")


async def test_approving_is_for_approvers_only(api: httpx2.AsyncClient) -> None:
    await post(api, "start", 2)
    assert_problem(await post(api, "approve", 3), 403, "refused")
    for verb in ("start", "pause", "advance", "rollback", "jump"):
        assert_problem(await post(api, verb, 3, actor="viewer,approver:eve", step=0), 403, "refused")


class TestApprovals:
    async def test_a_second_person_approves_and_the_first_goes_on(self, api: httpx2.AsyncClient) -> None:
        await post(api, "start", 2)
        assert_problem(await post(api, "advance", 3), 409, "approval-required")
        approved = await post(api, "approve", 3, actor="approver:bob")
        assert approved.headers["etag"] == '"4"'
        assert (await post(api, "advance", 4)).json()["share_millipct"] == 25_000

    async def test_the_proposer_cannot_approve_nor_the_approver_raise(self, api: httpx2.AsyncClient) -> None:
        await post(api, "start", 2)
        assert_problem(await post(api, "approve", 3, actor="approver:ann"), 409, "ramp-refused")
        await post(api, "approve", 3, actor="approver:bob", step=1)
        assert_problem(await post(api, "advance", 4, actor="operator:bob"), 409, "approval-required")
        assert (await post(api, "advance", 4)).status_code == 200

    @pytest.mark.parametrize("edit", ["extend", "pause", "other"])
    async def test_any_edit_voids_an_approval(self, api: httpx2.AsyncClient, ready: Store, edit: str) -> None:
        await post(api, "start", 2)
        await post(api, "approve", 3, actor="approver:bob")
        if edit == "other":
            await change(ready, lambda flag: replace(flag, owner="eve"))
        else:
            assert (await post(api, edit, 4, **({"by": "1h"} if edit == "extend" else {}))).status_code == 200
        answer = await set_share(api, 25_000, 5)
        assert_problem(answer, 409, "approval-required")

    async def test_an_approval_of_another_revision_is_refused(self, api: httpx2.AsyncClient) -> None:
        await post(api, "start", 2)
        await post(api, "extend", 3, by="1h")
        assert_problem(await post(api, "approve", 3, actor="approver:bob"), 412, "revision-conflict")


class TestIdempotencyKeys:
    async def test_a_command_sent_twice_is_done_once_and_answered_alike(
        self, api: httpx2.AsyncClient, ready: Store
    ) -> None:
        first = await post(api, "start", 2, key="k1")
        await post(api, "pause")
        again = await post(api, "start", 2, key="k1")
        assert (again.status_code, again.headers["etag"]) == (200, '"3"')
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert again.json() == first.json()
        assert (await flag_of(ready)).revision == 4

    async def test_a_repetition_needs_no_revision_of_its_own(self, api: httpx2.AsyncClient, ready: Store) -> None:
        await post(api, "start", 2, key="k1")
        assert (await post(api, "start", 3, key="k1")).json()["revision"] == 3
        assert (await flag_of(ready)).revision == 3

    async def test_of_many_at_once_one_is_done(self, api: httpx2.AsyncClient, ready: Store) -> None:
        answers = await asyncio.gather(*(set_share(api, 500, 2, "k1") for _ in range(10)))
        assert {(answer.status_code, answer.json()["revision"]) for answer in answers} == {(200, 3)}
        assert [answer.headers.get("idempotency-replayed") for answer in answers].count(None) == 1
        assert (await flag_of(ready)).revision == 3

    @pytest.mark.parametrize("verb", ["kill", "unkill", "pause", "rollback"])
    async def test_stops_and_liftings_too(
        self, api: httpx2.AsyncClient, ready: Store, follower: Follower, verb: str
    ) -> None:
        await post(api, "start", 2)
        await post(api, "kill") if verb == "unkill" else None
        first = await post(api, verb, key="k1")
        undone = {"kill": "unkill", "unkill": "kill", "pause": "resume"}.get(verb)
        before = await flag_of(ready)
        if undone:
            await post(api, undone, before.revision)
            before = await flag_of(ready)
        again = await post(api, verb, key="k1")
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        assert again.headers["etag"] == first.headers["etag"]
        assert await flag_of(ready) == before
        assert not follower.killed_locally

    async def test_one_that_had_nothing_to_do_is_remembered(self, api: httpx2.AsyncClient, ready: Store) -> None:
        await post(api, "kill")
        await post(api, "kill", key="k1")
        await post(api, "unkill")
        again = await post(api, "kill", key="k1")
        assert again.headers["idempotency-replayed"] == "true"
        assert not (await flag_of(ready)).kill.on

    async def test_the_same_key_for_another_command_is_refused(self, api: httpx2.AsyncClient, ready: Store) -> None:
        await post(api, "start", 2, key="k1")
        others = [
            await post(api, "start", 2, key="k1", reason="another"),
            await post(api, "end", 3, key="k1"),
            await post(api, "kill", key="k1"),
            await post(api, "start", 2, key="k1", actor="operator:eve"),
            await set_share(api, 5, 3, "k1"),
        ]
        for answer in others:
            assert_problem(answer, 409, "idempotency-key-used")
        assert (await flag_of(ready)).revision == 3

    async def test_a_refused_command_may_be_sent_again(self, api: httpx2.AsyncClient) -> None:
        assert_problem(await post(api, "resume", 2, key="k1"), 409, "ramp-refused")
        await post(api, "start", 2)
        await post(api, "pause")
        assert (await post(api, "resume", 4, key="k1")).status_code == 200

    @pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
    async def test_what_is_no_key_is_refused(self, api: httpx2.AsyncClient, key: str) -> None:
        assert_problem(await post(api, "start", 2, key=key), 422, "invalid-request")


class TestOutages:
    @pytest.fixture
    def away(self, store_path: Path) -> Path:
        return store_path.with_name("away")

    async def test_a_rollback_takes_the_traffic_away_here_and_is_written_later(
        self, api: httpx2.AsyncClient, ready: Store, follower: Follower, store_path: Path, away: Path, kill_path: Path
    ) -> None:
        await change(ready, lambda flag: replace(flag, rollback=Rollback(to_share=400)))
        await post(api, "start", 3)
        store_path.rename(away)
        answer = await post(api, "rollback", key="k1")
        body = answer.json()
        assert (answer.status_code, body["store"]) == (202, "unavailable, killed on this replica")
        assert (body["killed_locally"], body["in_force_millipct"]) == (True, 0)
        assert "etag" not in answer.headers
        assert reason_in_force(follower) is Reason.KILLED
        assert kill_path.read_text() == "summarize  # ann: roll_back: it is time\n"
        away.rename(store_path)
        await follower._follow()
        flag = await flag_of(ready)
        assert (flag.progress.phase, flag.share_millipct, flag.kill.on) == (Phase.ROLLED_BACK, 400, False)
        assert not follower.killed_locally
        assert reason_in_force(follower) is Reason.SPLIT
        again = await post(api, "rollback", key="k1")
        assert (again.headers["idempotency-replayed"], again.headers["etag"]) == ("true", '"5"')

    async def test_a_pause_is_written_later_and_takes_nothing_away(
        self, api: httpx2.AsyncClient, ready: Store, follower: Follower, store_path: Path, away: Path
    ) -> None:
        await post(api, "start", 2)
        store_path.rename(away)
        answer = await post(api, "pause")
        assert (answer.status_code, answer.json()["store"]) == (202, "unavailable, to be written when it is back")
        assert answer.json()["in_force_millipct"] == 1_000
        away.rename(store_path)
        await follower._follow()
        flag = await flag_of(ready)
        assert flag.progress.paused is not None
        assert (flag.progress.paused.actor, flag.progress.paused.since_s) == ("ann", 1_000.0)

    async def test_what_may_raise_is_refused(self, api: httpx2.AsyncClient, store_path: Path, away: Path) -> None:
        store_path.rename(away)
        for key in (None, "k1"):
            given = {} if key is None else {"key": key}
            assert_problem(await post(api, "start", 2, **given), 503, "store-unavailable")

    async def test_a_replica_that_never_saw_the_store_says_so(
        self, ready: Store, clock: Any, store_path: Path, away: Path, kill_path: Path, operator_api: Any
    ) -> None:
        await ready.version()
        store_path.rename(away)
        follower = Follower(ready, clock, kill_file=kill_path)
        assert_problem(await post(operator_api(ready, follower, clock), "rollback"), 503, "store-unavailable")
        assert follower.is_killed_locally("summarize")


async def test_the_api_describes_its_verbs(ready: Store, follower: Follower, clock: Any) -> None:
    app = FastAPI()
    app.include_router(router(ready, follower, clock, lambda *_: lambda: "ann"), prefix="/api/v1")
    paths = app.openapi()["paths"]
    plain = ("start", "resume", "advance", "restart", "complete", "ack", "end")
    for verb in (*plain, "pause", "rollback", "approve", "jump", "extend"):
        described = paths[f"/api/v1/features/{{feature}}/ramp/{verb}"]["post"]
        names = {each["name"].lower() for each in described["parameters"]}
        assert {"feature", "idempotency-key"} <= names
        assert ("if-match" in names) == (verb not in {"pause", "rollback"})
        assert described["requestBody"]["required"]
