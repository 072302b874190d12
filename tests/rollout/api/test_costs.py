"""What a ramp costs, as an operator's client asks for it."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from rollout.core.audit import record_change
from rollout.core.cost import Gpus, Pricing, TokenPrice, add, one
from rollout.core.cost_sums import cost_key, vector_of
from rollout.core.model import Arm
from rollout.core.ramp_model import Phase, Progress
from rollout.follower import Follower
from rollout.ports import Store
from rollout.surroundings import Surroundings

PARTNER = TokenPrice(2_500_000, 10_000_000)
PRICES = {"partner": Pricing(PARTNER), "inhouse": Pricing(gpus=Gpus(1, 100_000))}
URL = "/features/summarize/cost"


async def ramp(store: Store, began_s: float) -> None:
    """A ramp at 10 % with a hundred requests."""
    before = await store.get("summarize")
    assert before is not None
    progress = Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=began_s)
    after = replace(before, share_millipct=10_000, progress=progress)
    await store.put_if_revision(
        after, before.revision, record_change(before, after, actor="ann", command="start", reason="r", at_s=began_s)
    )
    made = {Arm.CANDIDATE: (10, TokenPrice()), Arm.BASELINE: (90, PARTNER)}
    deltas = {
        cost_key("summarize", progress, 10_000, arm): vector_of(add([one(price, 1_000, 100, accepted=True)] * count))
        for arm, (count, price) in made.items()
    }
    await store.add_sums(deltas, "flush-1")


@pytest.fixture
def api(seeded: Store, follower: Follower, clock: Any, operator_api: Any) -> Any:
    around = Surroundings(prices=lambda: PRICES)
    return operator_api(seeded, follower, clock, "viewer:ann", around=around)


async def test_both_arms_and_what_is_saved(api: httpx2.AsyncClient, seeded: Store, clock: Any) -> None:
    await ramp(seeded, clock.now_s() - 360.0)
    answer = (await api.get(URL)).json()
    assert (answer["attempt"], answer["until_s"] - answer["since_s"]) == (1, 360.0)
    assert (answer["candidate"]["requests"], answer["baseline"]["accepted"]) == (10, 90)
    assert answer["candidate"]["per_request_usd"] == pytest.approx(0.001)
    assert answer["baseline"]["per_request_usd"] == pytest.approx(0.0035)
    assert answer["saved"]["usd"] == pytest.approx(0.035 - 0.01)
    assert answer["saved_in_full"]["usd"] == pytest.approx(0.35 - 0.01)
    assert answer["warnings"] == ["GPU time is all of 'inhouse', whatever else it serves"]


async def test_a_feature_without_a_ramp_has_no_figures(api: httpx2.AsyncClient) -> None:
    answer = (await api.get(URL)).json()
    assert (answer["attempt"], answer["saved"]) == (0, None)
    assert "no ramp has begun" in answer["warnings"][0]


async def test_who_may_not_ask_and_what_is_not_there(api: httpx2.AsyncClient, store_path: Path) -> None:
    assert (await api.get(URL, headers={"Authorization": "operator:eve"})).status_code == 403
    assert (await api.get("/features/nobody/cost")).status_code == 404
    store_path.rename(store_path.with_name("away"))  # noqa: ASYNC240  a test may block its own loop
    assert (await api.get(URL)).status_code == 503
