"""What operators are shown of a ramp: what follows from its flag and the time, and what a controller saw of it.

Holds that need no measurement are worked out here, whoever has looked: they are right although no controller runs, and
their times go on between two of its looks. What gates, samples and capacity hold is as it was last seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_flag import ramp_of
from rollout.core.ramp_holds import approval_hold, timed_holds
from rollout.core.ramp_model import GateMemory, Phase

if TYPE_CHECKING:
    from rollout.core.gates import Verdict
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Pause, Progress, RampPlan, RolledBack
    from rollout.core.ramp_shown import Shown
    from rollout.core.ramp_table import Ramp

UNSEEN_MAX_S = 10.0
"""A controller looks every second and keeps what it saw at least every five."""

_UNDER_WAY = (Phase.RUNNING, Phase.MONITORING)
_MEASURED = frozenset({
    HoldReason.FAILING, HoldReason.METRICS_ERROR, HoldReason.NO_DATA, HoldReason.INCONCLUSIVE,
    HoldReason.INSUFFICIENT_SAMPLES, HoldReason.CAPACITY,
})  # fmt: skip
_ORDER = {reason: position for position, reason in enumerate(HoldReason)}


class Look(NamedTuple):
    """What is known besides the flag (Unix times): what a controller saw of it, and when its revision was written.

    `store_fault`: why the store can't be read; what was known last is shown then. `store_read_s`: when it last could.
    """

    shown: Shown | None = None
    written_s: float | None = None
    store_fault: str = ""
    store_read_s: float | None = None


class RampState(NamedTuple):
    """A ramp for people; shares in millipct, None where there is no such step. `step` counts from 0.

    `verdicts`: at the last look; after a rollback what they were when it was decided, under a kill before it.
    """

    phase: Phase
    step: int
    steps: int
    step_share: int | None
    next_share: int | None
    paused: Pause | None
    rolled_back: RolledBack | None
    holds: tuple[Hold, ...]
    verdicts: tuple[Verdict, ...]
    looked_at_s: float | None
    controller: str | None


def state_of(flag: FeatureFlag, look: Look, now_s: float, *, killed_locally: bool = False) -> RampState | None:
    """Give what is shown of a flag's ramp at Unix time `now_s`; None when it has none."""
    plan, progress = flag.ramp, flag.progress
    if plan is None:
        return None
    shown = look.shown if look.shown is not None and look.shown.revision == flag.revision else None
    step = progress.step
    return RampState(
        phase=progress.phase,
        step=step,
        steps=len(plan.steps),
        step_share=plan.steps[step].share if 0 <= step < len(plan.steps) else None,
        next_share=_next_share(plan, progress, flag.share_millipct),
        paused=progress.paused,
        rolled_back=progress.rolled_back,
        holds=_holds(flag, plan, look._replace(shown=shown), now_s, killed_locally=killed_locally),
        verdicts=_verdicts(progress, shown),
        looked_at_s=None if shown is None else shown.at_s,
        controller=None if shown is None else shown.holder,
    )


def _verdicts(progress: Progress, shown: Shown | None) -> tuple[Verdict, ...]:
    if progress.phase is Phase.ROLLED_BACK and progress.rolled_back is not None:
        return progress.rolled_back.verdicts or (() if shown is None else shown.last)
    return () if shown is None else shown.verdicts or shown.last


def _next_share(plan: RampPlan, progress: Progress, share: int) -> int | None:
    """The share that comes next if all goes well; none from a ramp at rest or in its last step."""
    if progress.phase is Phase.READY:
        return max(share, plan.steps[_first_step(plan, share)].share)
    if progress.phase not in (Phase.RUNNING, Phase.PAUSED) or progress.monitoring_since_s is not None:
        return None
    step = progress.step + 1
    return max(share, plan.steps[step].share) if step < len(plan.steps) else None


def _first_step(plan: RampPlan, share: int) -> int:
    return max(0, plan.step_at(share))


def _holds(flag: FeatureFlag, plan: RampPlan, look: Look, now_s: float, *, killed_locally: bool) -> tuple[Hold, ...]:
    ramp = ramp_of(flag, GateMemory(), killed_locally=killed_locally)
    seen = () if look.shown is None else tuple(hold for hold in look.shown.holds if hold.reason in _MEASURED)
    found = (*_killed(flag, now_s, killed_locally=killed_locally), *_unwatched(ramp, look, now_s))
    return tuple(sorted((*found, *_of_phase(ramp, plan, now_s), *seen), key=lambda hold: _ORDER[hold.reason]))


def _killed(flag: FeatureFlag, now_s: float, *, killed_locally: bool) -> tuple[Hold, ...]:
    if flag.kill.on:
        detail = f"by {flag.kill.actor}: {flag.kill.reason}"
        return (Hold(HoldReason.KILLED, max(0.0, now_s - flag.kill.at_s), detail=detail),)
    return (Hold(HoldReason.KILLED, detail="on this replica alone"),) if killed_locally else ()


def _unwatched(ramp: Ramp, look: Look, now_s: float) -> tuple[Hold, ...]:
    """Whether what moves a ramp is missing: the store, or somebody who looks at it."""
    if look.store_fault:
        age_s = None if look.store_read_s is None else max(0.0, now_s - look.store_read_s)
        return (Hold(HoldReason.STORE_UNAVAILABLE, age_s, detail=look.store_fault),)
    since_s = look.written_s if look.shown is None else look.shown.at_s
    if since_s is None or not _is_moved(ramp):
        return ()
    age_s = now_s - since_s
    return (Hold(HoldReason.NO_CONTROLLER, age_s, UNSEEN_MAX_S),) if age_s > UNSEEN_MAX_S else ()


def _is_moved(ramp: Ramp) -> bool:
    """Whether a controller has something to do: a paused ramp's gates can still roll it back."""
    return ramp.progress.phase in (*_UNDER_WAY, Phase.PAUSED) or _is_falling(ramp)


def _is_falling(ramp: Ramp) -> bool:
    back = ramp.progress.rolled_back
    return back is not None and ramp.share_millipct > back.to_share


def _of_phase(ramp: Ramp, plan: RampPlan, now_s: float) -> tuple[Hold, ...]:
    match ramp.progress.phase:
        case Phase.DRAFT:
            return (Hold(HoldReason.NOT_STARTED, detail="a draft, or ended: apply it with --anew"),)
        case Phase.READY:
            step = _first_step(plan, ramp.share_millipct)
            raises = plan.steps[step].share > ramp.share_millipct
            return (
                Hold(HoldReason.NOT_STARTED, detail="start it"),
                *(approval_hold(ramp, plan, step) if raises else ()),
            )
        case Phase.PAUSED:
            return (_paused(ramp.progress.paused, now_s),)
        case Phase.ROLLED_BACK:
            return (_rolled_back(ramp, now_s),)
        case Phase.RUNNING | Phase.MONITORING:
            return timed_holds(ramp, plan, now_s)
        case _:
            return ()


def _paused(pause: Pause | None, now_s: float) -> Hold:
    if pause is None:
        return Hold(HoldReason.PAUSED)
    return Hold(HoldReason.PAUSED, max(0.0, now_s - pause.since_s), detail=_cause(pause))


def _rolled_back(ramp: Ramp, now_s: float) -> Hold:
    back = ramp.progress.rolled_back
    if back is None:
        return Hold(HoldReason.ROLLED_BACK, detail="restart it, or end it")
    if _is_falling(ramp):
        return Hold(HoldReason.ROLLING_BACK, ramp.share_millipct, back.to_share, detail=_cause(back))
    passed_s = max(0.0, now_s - back.at_s)
    if now_s < back.cooldown_ends_s:
        return Hold(HoldReason.COOLDOWN, passed_s, back.cooldown_ends_s - back.at_s, detail=_cause(back))
    return Hold(HoldReason.ROLLED_BACK, passed_s, detail=f"{_cause(back)}; restart it, or end it")


def _cause(stopped: Pause | RolledBack) -> str:
    who = f"{stopped.by} {stopped.actor}".strip()
    seen = f"; seen by {stopped.acked_by}" if stopped.acked_by else ""
    return f"by {who}: {stopped.reason}{seen}"
