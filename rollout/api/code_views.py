"""The shapes of requests and answers of flags as code, plan and doctor, as OpenAPI shows them."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field

from rollout.core.ramp_plan import PlannedStep, written
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollout.code_operations import Outcome, Planned
    from rollout.surroundings import Check

Seconds = Annotated[float | None, Field(description="null: can't be said without more traffic, or any")]


class ChangeView(BaseModel):
    """One leaf of a document's entry that differs; null where it is absent."""

    path: str
    before: Any
    after: Any


class AppliedView(BaseModel):
    """What a document did to one feature, or would; `revision` is the present one, 0 if there is no such feature."""

    feature: str
    action: Literal["create", "change", "same"]
    commands: list[str]
    changes: list[ChangeView]
    warnings: list[str]
    revision: int


class AppliedAnswer(BaseModel):
    """What applying a document did, or would: each feature after those that it needs."""

    dry_run: bool
    features: list[AppliedView]


class PlannedStepView(BaseModel):
    """One step; `needs_s` is the longest of baking, samples and evidence."""

    step: int
    share_millipct: int
    share: str
    needs_s: Seconds
    bake_s: float
    samples_s: Seconds
    evidence_s: Seconds
    approval: bool
    text: str


class PlanAnswer(BaseModel):
    """How long a ramp takes at the best: windows, approvals and capacity come on top."""

    feature: str
    units_per_s: Annotated[float | None, Field(description="traffic of both arms that was reckoned with")]
    steps: list[PlannedStepView]
    post_monitor_s: float
    total_s: Seconds
    text: str
    faults: list[str]
    warnings: list[str]


class CheckView(BaseModel):
    """One thing that was looked at."""

    check: str
    result: Literal["ok", "warn", "fail"]
    text: str
    hint: str


class DoctorAnswer(BaseModel):
    """Everything that was looked at, and the worst result."""

    result: Literal["ok", "warn", "fail"]
    checks: list[CheckView]


class RoleAnswer(BaseModel):
    """The key has this role; without it the answer is 403."""

    role: str
    actor: str


_ASSUMED = (
    "evidence is reckoned as if each request were a new unit: in conversations of four requests it takes four times as "
    "long, and no time is reckoned for judged pairs"
)


def applied_answer(outcomes: Iterable[Outcome], *, dry_run: bool) -> AppliedAnswer:
    """Show what a document did."""
    return AppliedAnswer(dry_run=dry_run, features=[_applied_view(each) for each in outcomes])


def plan_answer(planned: Planned) -> PlanAnswer:
    """Show a dry run of a ramp."""
    total = f"{written(planned.total_s)} in all, at the best"
    if not isfinite(planned.total_s):
        total = "how long it takes in all can't be said" + (" without a rate" if planned.units_per_s is None else "")
    if any(step.evidence_s for step in planned.steps):
        total = f"{total}; {_ASSUMED}"
    return PlanAnswer(
        feature=planned.feature,
        units_per_s=planned.units_per_s,
        steps=[_step_view(each, planned.units_per_s) for each in planned.steps],
        post_monitor_s=planned.post_monitor_s,
        total_s=_finite(planned.total_s),
        text=total,
        faults=list(planned.findings.faults),
        warnings=list(planned.findings.warnings),
    )


def doctor_answer(checks: Iterable[Check]) -> DoctorAnswer:
    """Show what was looked at."""
    views = [CheckView(check=each.name, result=each.result, text=each.text, hint=each.hint) for each in checks]
    found = {each.result for each in views}
    return DoctorAnswer(result="fail" if "fail" in found else "warn" if "warn" in found else "ok", checks=views)


def step_line(step: PlannedStep, units_per_s: float | None) -> str:
    """Say in one line what a step needs; without a rate, what can be said all the same."""
    if units_per_s is not None:
        return str(step)
    line = f"step {step.step} ({format_share(step.share)}): bakes {written(step.bake_s)}"
    if not isfinite(step.needs_s):
        line += "; how long its samples and evidence take is unknown without a rate"
    return f"{line}, and the approval of a second person before" if step.approval else line


def _applied_view(outcome: Outcome) -> AppliedView:
    proposal = outcome.proposal
    return AppliedView(
        feature=proposal.feature,
        action=proposal.action,
        commands=[each.command for each in proposal.writes],
        changes=[ChangeView(path=each.path, before=each.before, after=each.after) for each in proposal.changes],
        warnings=list(proposal.warnings),
        revision=outcome.revision,
    )


def _step_view(step: PlannedStep, units_per_s: float | None) -> PlannedStepView:
    return PlannedStepView(
        step=step.step,
        share_millipct=step.share,
        share=format_share(step.share),
        needs_s=_finite(step.needs_s),
        bake_s=step.bake_s,
        samples_s=_finite(step.samples_s),
        evidence_s=_finite(step.evidence_s),
        approval=step.approval,
        text=step_line(step, units_per_s),
    )


def _finite(seconds: float) -> float | None:
    return seconds if isfinite(seconds) else None
