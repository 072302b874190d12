from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.core.admission.meter import MONEY, Meter
from rollout.adapters.sqlite import SqliteStore
from rollout.core.model import Shadow
from rollout.core.quota import QuotaAsk
from tests.gateway.operators import Operators
from tests.gateway.texts import BOTH, texts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def here(tmp_path: Path, stack) -> Operators:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    made = Operators(tmp_path, store)
    await stack.enter_async_context(made.client)
    return made


async def test_from_a_pair_to_a_vote_to_ratings(here: Operators) -> None:
    here.put(texts(1, ours="<script>ours</script>"))
    assert (await here.get("/arena/features")).json() == {"features": ["ask", "draft"]}
    answer = await here.get("/features/draft/arena/pair")
    pair = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert pair["messages"] == [{"role": "user", "content": "hello"}]
    assert {pair["left"], pair["right"]} == {"<script>ours</script>", "theirs"}
    for hidden in ("inhouse", "partner", "candidate", "baseline"):
        assert hidden not in answer.text
    told = (await here.post("/features/draft/arena/votes", {"ticket": pair["ticket"], "vote": "tie"})).json()
    assert {told["left"], told["right"]} == {"inhouse", "partner"}
    assert [told["left"], told["right"]][pair["left"] == "theirs"] == "inhouse"
    assert told["ratings"] == (await here.get("/features/draft/ratings")).json()
    assert (told["ratings"]["votes"], told["ratings"]["ratings"][0]["win"]) == (1, 0.5)
    nothing = (await here.get("/features/draft/arena/pair")).json()
    why = nothing.pop("why")
    assert nothing == {"ticket": None, "messages": [], "left": "", "right": ""}
    assert why == "1 pairs kept, you have voted on 1; the flag's shadow sample is 0 %"


async def test_a_voter_gets_no_further_than_to_the_features_of_the_key(here: Operators) -> None:
    here.put(texts(1))
    here.put(texts(2), feature="ask")
    assert (await here.get("/features/ask/arena/pair", "drafts")).json()[
        "detail"
    ] == "the key 'drafts' doesn't open 'ask'"
    assert (await here.get("/features/ask/ratings", "drafts")).status_code == 403
    vote = {"ticket": (await here.get("/features/ask/arena/pair")).json()["ticket"], "vote": "tie"}
    assert (await here.post("/features/ask/arena/votes", vote, "drafts")).status_code == 403
    assert (await here.get("/features/draft/arena/pair", "drafts")).json()["ticket"]


async def test_what_is_empty_says_why(here: Operators) -> None:
    here.put(*(texts(number, theirs="ours") for number in range(3)))
    kept = Shadow(millipct=5_000, daily_budget=10, max_concurrent=1, keep=BOTH)
    here.flags["draft"] = replace(here.flags["draft"], shadow=kept)
    why = (await here.get("/features/draft/arena/pair")).json()["why"]
    assert why == "3 pairs kept, 3 of them equal; more come with new requests, of which 5% are sampled"
    meter = Meter("shadow", "draft", MONEY, 10)
    meter.roll(here.now_s)
    await here.store.lease_quota([QuotaAsk(meter.name, meter.window, 10, 10, meter.until_s)])
    why = (await here.get("/features/draft/arena/pair", "ann")).json()["why"]
    assert why.endswith("the daily budget of 10 shadow calls is given out, more from midnight UTC")


@pytest.mark.parametrize(
    ("name", "votes", "reads"),
    [("voter", 200, 200), ("operator", 200, 200), ("viewer", 403, 200), ("nobody", 403, 403), ("stranger", 401, 401)],
)
async def test_roles(here: Operators, name: str, votes: int, reads: int) -> None:
    for path in ("/arena/features", "/features/draft/arena/pair"):
        assert (await here.get(path, name)).status_code == votes
    posted = await here.post("/features/draft/arena/votes", {"ticket": "x", "vote": "tie"}, name)
    assert posted.status_code == (422 if votes == 200 else votes)
    assert (await here.get("/features/draft/ratings", name)).status_code == reads


@pytest.mark.parametrize(
    "order", [{}, {"ticket": "x"}, {"ticket": "x", "vote": "candidate"}, {"ticket": "x", "vote": "tie", "voter": "bob"}]
)
async def test_an_order_that_is_none_is_a_problem(here: Operators, order: dict[str, str]) -> None:
    answer = await here.post("/features/draft/arena/votes", order)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_an_unknown_feature_is_a_problem(here: Operators) -> None:
    for path in ("/features/x/arena/pair", "/features/x/ratings"):
        answer = await here.get(path)
        assert (answer.status_code, answer.json()["title"]) == (404, "There is no such feature")
