from collections.abc import Awaitable, Callable

import httpx2
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from gateway.core.messages import Requests, Unheard
from gateway.core.trace import Trace
from gateway.request_api import Sought, request_router, sought
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import StoreUnavailable
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.seed import ensure_features
from tests.gateway.records import SETTLED

RECORD = replace(
    SETTLED,
    request_id="a/b+c=d",
    at_s=100.0,
    revision=2,
    sent_s=0.1,
    duration_s=0.2,
    prompt_tokens=3,
    completion_tokens=4,
    key_id="key_1",
    trace=Trace("a" * 32, "b" * 16),
)
SINCE_S = 50.0


@pytest.fixture
async def history(tmp_path, stack):
    """Revisions: 1 created at 0 %, 2 set to 5 %, 3 killed, and then 4 ... 9."""
    store, clock = SqliteStore(tmp_path / "store.db"), WallClock()
    stack.push_async_callback(store.close)
    await ensure_features(store, {"draft": ("inhouse", "partner")}, clock)
    operations = Operations(store, Follower(store, clock), clock)
    await operations.set_share("draft", 5_000, expected_revision=1, actor="ann", reason="first step")
    await operations.kill("draft", actor="bob", reason="bad answers")
    for _ in range(3):
        await operations.unkill("draft", actor="bob", reason="fixed")
        await operations.kill("draft", actor="eve", reason="again")
    return store.history


async def get(
    found: Sought, history: Callable[..., Awaitable[object]], request_id: str = RECORD.request_id
) -> httpx2.Response:
    asked: list[str] = []

    async def find(wanted: str) -> Sought:
        asked.append(wanted)
        return found

    app = FastAPI()
    app.include_router(request_router(find, history, lambda role: lambda: {"viewer": "ann"}[role]))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://admin") as client:
        answer = await client.get("/requests", params={"request_id": request_id})
    assert asked == [request_id]
    return answer


async def test_a_request_with_the_document_that_was_in_force(history) -> None:
    answer = (await get(Sought((RECORD,), SINCE_S, 0), history)).json()
    (request,) = answer["requests"]
    assert (request["share_millipct"], request["share"]) == (5_000, "5%")
    assert (request["document"]["actor"], request["document"]["reason"]) == ("ann", "first step")
    assert request["record"]["tenant"] == "acme"
    assert request["record"]["trace"]["trace_id"] == "a" * 32
    steps = {step["check"]: step["found"] for step in request["steps"]}
    assert "below the candidate's 5000 (5%)" in steps["arm"]
    assert (answer["store"], answer["silent_workers"], answer["complete_since_s"]) == ("ok", 0, SINCE_S)


async def test_who_killed_it_then(history) -> None:
    killed = replace(RECORD, reason="KILLED", assigned="baseline", revision=3)
    answer = (await get(Sought((killed,), SINCE_S, 0), history)).json()
    assert "killed by bob: bad answers" in str(answer["requests"][0]["steps"])


async def test_the_audit_log_is_read_page_by_page(history, monkeypatch) -> None:
    monkeypatch.setattr("gateway.request_api._PAGE", 2)
    answer = (await get(Sought((RECORD,), SINCE_S, 0), history)).json()
    assert answer["requests"][0]["share"] == "5%"
    monkeypatch.setattr("gateway.request_api._PAGES_MAX", 2)
    answer = (await get(Sought((RECORD,), SINCE_S, 0), history)).json()
    assert answer["requests"][0]["share"] is None
    assert answer["requests"][0]["document"] is None


async def test_without_its_store_the_request_is_told_all_the_same() -> None:
    async def away(*_: object) -> list[object]:
        raise StoreUnavailable("the store does not answer")

    answer = (await get(Sought((RECORD,), SINCE_S, 0), away)).json()
    assert answer["store"] == "the store does not answer"
    assert answer["requests"][0]["record"]["outcome"] == "ok"
    assert answer["requests"][0]["share"] is None


async def test_a_request_of_no_feature_needs_no_document() -> None:
    async def never(*_: object) -> list[object]:
        raise AssertionError("nothing to look for")

    bypassed = replace(RECORD, feature="", revision=0, reason="bypass", trace=None)
    answer = (await get(Sought((bypassed,), SINCE_S, 0), never)).json()
    assert answer["requests"][0]["record"]["trace"] is None


async def test_an_unknown_request_says_how_far_back_they_are_known(history) -> None:
    answer = await get(Sought((), SINCE_S, 0), history)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["complete_since_s"] == SINCE_S
    assert "1970-01-01T00:00:50+00:00" in answer.json()["hint"]


@pytest.mark.parametrize("found", [Sought((), SINCE_S, 1), Sought((), float("inf"), 0)])
async def test_while_workers_are_silent_unknown_is_not_claimed(history, found: Sought) -> None:
    answer = await get(found, history)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_what_the_workers_say_is_joined() -> None:
    older = replace(RECORD, at_s=90.0)
    joined = sought([Requests((older,), 10.0), Unheard(), Requests((RECORD,), 20.0)])
    assert joined == Sought((RECORD, older), 20.0, 1)
    assert sought([]) == Sought((), float("inf"), 0)
