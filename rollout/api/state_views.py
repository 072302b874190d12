"""The shapes of a ramp in the operator API's answers, as OpenAPI shows them."""

from enum import Enum
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, Field

from rollout.core.gates import Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_model import Phase, RolledBack
from rollout.core.ramp_state import RampState


class HoldView(BaseModel):
    """Why the share doesn't rise: `value` is what is, `limit` what it must become; `text` says both with units."""

    reason: HoldReason
    value: float | str | None
    limit: float | str | None
    gate: Annotated[str, Field(description="the gate that holds; empty if none does")]
    detail: str
    text: Annotated[str, Field(description='one line for people, as "baking: 12 s of 30 s"')]


class EstimateView(BaseModel):
    """What stands behind a gate of evidence, as far as it can be said: the audit log leaves out what is null."""

    effect: Annotated[
        float | None, Field(description="candidate minus baseline of the mean outcome; of a floor the candidate's mean")
    ] = None
    lower: Annotated[float | None, Field(description="lower bound of the effect, at all times at once")] = None
    upper: Annotated[float | None, Field(description="upper bound of the effect, at all times at once")] = None
    margin: Annotated[float | None, Field(description="the margin that is asked at this share")] = None
    excluded: Annotated[float | None, Field(description='the smallest "worse by" that is ruled out so far')] = None
    expected_s: Annotated[float | None, Field(description="until a decision, if the effect is as it looks")] = None
    harm_value: Annotated[float | None, Field(description="e-value for harm beyond the final margin")] = None
    by_bound: Annotated[
        bool, Field(description="`value` is a bound of the effect (of a floor: of the mean), no e-value")
    ] = False


class ArmCoverageView(BaseModel):
    """Of one arm: how many have an outcome, and how many have none that should; the audit log leaves out what is 0."""

    judged: int = 0
    left_out: Annotated[int, Field(description="no outcome; of shadow calls: failed")] = 0
    rated: Annotated[int | None, Field(description="of the judged, by callers; null where nobody asks for ratings")] = (
        None
    )


class CoverageView(BaseModel):
    """How much of what a gate is about stands behind its verdict."""

    of: Annotated[str, Field(description='what is counted: "units", "requests" or "shadow calls"')]
    candidate: ArmCoverageView
    baseline: ArmCoverageView
    limit: Annotated[float, Field(description="left out of all, in an arm, above which the share may not grow")]


class VerdictView(BaseModel):
    """What a gate said; of evidence, `value` is an e-value (or see `by_bound`) and `limit` what it must reach."""

    gate: str
    metric: Annotated[str, Field(description="of gates of evidence; the history has the query of others")]
    result: Result
    value: float | None
    limit: float | None
    samples: int | None
    reason: str
    estimate: Annotated[EstimateView | None, Field(description="of gates of source evidence alone")]
    coverage: Annotated[CoverageView | None, Field(description="likewise: who was judged, left out, rated")] = None


class RampStateView(BaseModel):
    """Where a ramp stands. Steps count from 0, -1 is below the first; times are Unix seconds."""

    phase: Phase
    step: int
    steps: Annotated[int, Field(description="how many steps there are")]
    step_share_millipct: Annotated[int | None, Field(description="share of the step; null below the first")]
    next_share_millipct: Annotated[int | None, Field(description="share that comes next; null if none does")]
    paused: dict[str, Any] | None
    rolled_back: Annotated[
        dict[str, Any] | None,
        Field(description="by whom, when and why; of a gate its name with metric, value and limit as they were then"),
    ]
    holds: Annotated[list[HoldView], Field(description="why the share doesn't rise, what matters most first")]
    verdicts: Annotated[
        list[VerdictView],
        Field(description="what the gates said at the last look; after a rollback when it was decided"),
    ]
    looked_at_s: Annotated[float | None, Field(description="when a controller last looked at this revision")]
    controller: Annotated[str | None, Field(description="which one")]


def ramp_state_view(state: RampState) -> RampStateView:
    """Show where a ramp stands."""
    return RampStateView(
        phase=state.phase,
        step=state.step,
        steps=state.steps,
        step_share_millipct=state.step_share,
        next_share_millipct=state.next_share,
        paused=whole(state.paused),
        rolled_back=_rolled_back(state.rolled_back),
        holds=[hold_view(hold) for hold in state.holds],
        verdicts=[verdict_view(verdict) for verdict in state.verdicts],
        looked_at_s=state.looked_at_s,
        controller=state.controller,
    )


def _rolled_back(back: RolledBack | None) -> dict[str, Any] | None:
    """What all gates said stands beside it already."""
    if back is None:
        return None
    said = next((verdict for verdict in back.verdicts if verdict.gate == back.gate), None)
    numbers = {name: None if said is None else getattr(said, name) for name in ("metric", "value", "limit")}
    return {name: value for name, value in whole(back).items() if name != "verdicts"} | numbers


def hold_view(hold: Hold) -> HoldView:
    """Show a hold, with its text."""
    return HoldView(
        reason=hold.reason, value=hold.value, limit=hold.limit, gate=hold.gate, detail=hold.detail, text=str(hold)
    )


def verdict_view(verdict: Verdict) -> VerdictView:
    """Show a verdict."""
    return VerdictView(
        gate=verdict.gate,
        metric=verdict.metric,
        result=verdict.result,
        value=verdict.value,
        limit=verdict.limit,
        samples=verdict.samples,
        reason=verdict.reason,
        estimate=None if verdict.estimate is None else EstimateView(**whole(verdict.estimate)),
        coverage=None if verdict.coverage is None else CoverageView(**whole(verdict.coverage)),
    )


def whole(value: Any) -> Any:  # noqa: ANN401  any part of a flag
    """Write a part of a flag as JSON has it, its defaults too: the document leaves some of them out."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return {spelt: whole(getattr(value, name)) for spelt, name in names}
    if isinstance(value, tuple):
        return [whole(each) for each in value]
    return value.value if isinstance(value, Enum) else value
