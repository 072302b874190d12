"""Wishes for early access: passed on by operators, decided on by somebody else."""

import asyncio
from typing import Any

import httpx2
import pytest

from rollout.core.enrolment import find
from rollout.core.model import Enrolment, EnrolmentState
from rollout.follower import Follower
from rollout.ports import Store

ANN, BOB = "operator,approver:ann", "approver:bob"


@pytest.fixture
def api(seeded: Store, follower: Follower, clock: Any, operator_api: Any) -> Any:
    return operator_api(seeded, follower, clock, ANN)


async def wish(api: httpx2.AsyncClient, user: str = "u1", **headers: str) -> httpx2.Response:
    body = {"tenant": "acme", "user": user, "reason": "asked by mail"}
    return await api.post("/features/summarize/enrolments", json=body, headers=headers)


async def decide(api: httpx2.AsyncClient, decision: str, actor: str, user: str = "u1") -> httpx2.Response:
    body = {"tenant": "acme", "user": user, "decision": decision, "reason": "known tester"}
    headers = {"Authorization": actor}
    return await api.post("/features/summarize/enrolments/decision", json=body, headers=headers)


async def entry_of(store: Store, user: str = "u1") -> Enrolment | None:
    flag = await store.get("summarize")
    assert flag is not None
    return find(flag, "acme", user)


async def test_a_wish_is_approved_by_somebody_else(api: httpx2.AsyncClient, seeded: Store) -> None:
    asked = await wish(api)
    assert (asked.status_code, asked.headers["etag"]) == (200, '"2"')
    assert (await decide(api, "approve", BOB)).headers["etag"] == '"3"'
    entry = await entry_of(seeded)
    assert entry is not None
    assert (entry.state, entry.requested_by, entry.decided_by) == (EnrolmentState.APPROVED, "ann", "bob")
    commands = [(entry.command, entry.actor, entry.reason) for entry in await seeded.history("summarize", 2)]
    assert commands == [("enrol-approve", "bob", "known tester"), ("enrol-request", "ann", "asked by mail")]


async def test_nobody_approves_their_own_wish_nor_one_that_was_not_made(api: httpx2.AsyncClient, seeded: Store) -> None:
    await wish(api)
    for refused in (await decide(api, "approve", ANN), await decide(api, "approve", BOB, user="u2")):
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:glidepath:problem:invalid-argument")
        assert refused.json()["hint"]
    assert (await api.post("/features/summarize/enrolments/decision", json={})).status_code == 422
    entry = await entry_of(seeded)
    assert entry is not None
    assert entry.state is EnrolmentState.REQUESTED


async def test_a_wish_is_declined_or_forgotten(api: httpx2.AsyncClient, seeded: Store) -> None:
    await wish(api)
    assert (await decide(api, "decline", BOB)).status_code == 200
    entry = await entry_of(seeded)
    assert entry is not None
    assert entry.state is EnrolmentState.DECLINED
    assert (await decide(api, "forget", BOB)).status_code == 200
    assert await entry_of(seeded) is None
    assert (await decide(api, "decline", BOB)).status_code == 422


async def test_roles_are_kept_apart(api: httpx2.AsyncClient) -> None:
    assert (await wish(api, Authorization="viewer,approver:eve")).status_code == 403
    assert (await decide(api, "approve", "operator:eve")).status_code == 403


async def test_wishes_add_up_however_many_come_at_once(api: httpx2.AsyncClient, seeded: Store) -> None:
    answers = await asyncio.gather(*(wish(api, f"u{number}") for number in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert all([await entry_of(seeded, f"u{number}") for number in range(8)])


async def test_a_repeated_wish_is_no_revision(api: httpx2.AsyncClient) -> None:
    first = await wish(api, **{"Idempotency-Key": "k1"})
    again = await wish(api, **{"Idempotency-Key": "k1"})
    assert (again.headers["idempotency-replayed"], again.headers["etag"]) == ("true", first.headers["etag"])
    assert (await wish(api)).headers["etag"] == first.headers["etag"]


async def test_an_unknown_feature_is_a_problem(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/features/sumarize/enrolments", json={"tenant": "acme", "reason": "r"})
    assert (answer.status_code, answer.json()["hint"]) == (404, "did you mean summarize?")
