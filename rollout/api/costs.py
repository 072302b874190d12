"""What a feature's ramp costs, over HTTP: the sums in the store at the prices that this process knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from rollout.api.conditions import FeatureName  # noqa: TC001  FastAPI reads it
from rollout.core.cost_report import cost_report
from rollout.core.errors import UnknownFeature

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rollout.core.cost import Pricing
    from rollout.core.cost_report import CostReport
    from rollout.operations import Operations
    from rollout.ports import Clock, Store

Dollars = float
_Quotient = Annotated[Dollars | None, Field(description="tokens and GPU time; null: nothing to divide by")]


class PaidArmView(BaseModel):
    """What was assigned to an arm, and what was paid for it, whoever answered. Amounts are US dollars."""

    upstream: str
    requests: int
    accepted: Annotated[int, Field(description="requests that did not fail, a fallback's answer included")]
    unmetered: Annotated[int, Field(description="answered without token counts: they count as free")]
    prompt_tokens: int
    completion_tokens: int
    tokens_usd: Dollars
    gpu_usd: Annotated[Dollars, Field(description="GPUs of its upstream for the time of the ramp, used or not")]
    per_request_usd: _Quotient
    per_accepted_usd: _Quotient
    per_million_tokens_usd: _Quotient


class SavedView(BaseModel):
    """What the baseline would have cost, less what was paid; below zero: the candidate is dearer."""

    usd: Dollars
    lower_usd: Annotated[Dollars | None, Field(description="95 %, for people; null: too few requests to say")]
    upper_usd: Dollars | None
    per_day_usd: Annotated[Dollars | None, Field(description="at the mean rate since the start")]
    extrapolated: Annotated[int, Field(description="requests of shares without a baseline, valued at its mean price")]


class ShadowCostView(BaseModel):
    """Shadow calls that had an answer: overhead, in neither arm."""

    requests: int
    unmetered: int
    usd: Dollars


class CostAnswer(BaseModel):
    """What one attempt of a ramp costs, from its start until now or its rollback."""

    feature: str
    attempt: Annotated[int, Field(description="0: no ramp has begun")]
    since_s: Annotated[float | None, Field(description="Unix time")]
    until_s: float
    candidate: PaidArmView
    baseline: PaidArmView
    saved: Annotated[SavedView | None, Field(description="so far; null before the baseline had a request")]
    saved_in_full: Annotated[SavedView | None, Field(description="had the candidate answered everything")]
    shadows: ShadowCostView
    warnings: Annotated[list[str], Field(description="what makes the figures mean less than they seem to")]


class CostReads:
    """Makes reports from the store; `prices`: now, by upstream."""

    def __init__(
        self, operations: Operations, store: Store, clock: Clock, prices: Callable[[], Mapping[str, Pricing]]
    ) -> None:
        self._operations, self._store, self._clock, self._prices = operations, store, clock, prices

    async def get(self, feature: str) -> CostReport:
        """The report of a feature; UnknownFeature, StoreUnavailable."""
        flags = (await self._operations.read()).flags
        if feature not in flags:
            raise UnknownFeature(feature, flags)
        sums = await self._store.read_sums(feature)
        return cost_report(flags[feature], sums, self._prices(), self._clock.now_s())


def add_cost_routes(
    routes: APIRouter, costs: CostReads, authorize: Callable[[str], Callable[..., Awaitable[str] | str]]
) -> None:
    """Add them. `authorize`: as for `rollout.api.router`."""

    @routes.get(
        "/features/{feature}/cost",
        dependencies=[Depends(authorize("viewer"))],
        summary="What each arm of the ramp costs, and what is saved",
    )
    async def cost(feature: FeatureName) -> CostAnswer:
        return cost_answer(await costs.get(feature))


def cost_answer(report: CostReport) -> CostAnswer:
    """Show a report."""
    return CostAnswer.model_validate(msgspec.to_builtins(report))
