"""Random flags with ramps, gates and progress, as documents hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.configuration import exported
from rollout.core.ramp_model import (
    Cause,
    FailureRule,
    Gate,
    GateKind,
    Pause,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    RolledBack,
    Step,
    Window,
)
from tests.rollout.core.strategies import flags

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag

durations = st.sampled_from(["30s", "10m", "1h", "2d"])


def _plan(shares: set[int], bakes: list[str], approval: bool, windows: list[Window]) -> RampPlan:  # noqa: FBT001  drawn
    steps = (Step(share, bake, approval=approval) for share, bake in zip(sorted(shares), bakes, strict=False))
    return RampPlan(steps=tuple(steps), windows=tuple(windows))


plans = st.builds(
    _plan,
    st.sets(st.integers(1_000, 100_000), min_size=1, max_size=4),
    st.lists(durations, min_size=4, max_size=4),
    st.booleans(),
    st.lists(st.just(Window("09:30", "17:00")), max_size=1),
)
thresholds = st.builds(
    lambda name, limit, query, role: Gate(
        name=name,
        role=role,
        source="promql",
        kind=GateKind.THRESHOLD,
        query=query,
        limit=limit,
        window="30s",
        failure=FailureRule(count=2),
    ),
    st.sampled_from(["errors", "on", "1e3", "latency"]),
    st.floats(0, 1e6),
    st.sampled_from(["up", 'rate(x{a="b"}[5m])\n  / 2', "sum(x) > 0 # why: not"]),
    st.sampled_from(Role),
)
evidence = st.builds(
    lambda metric: Gate(
        name=metric, role=Role.SOFT, source="evidence", kind=GateKind.HARM, metric=metric, margin=0.1, alpha=0.05
    ),
    st.sampled_from(["judge", "ttft_p95"]),
)
gate_lists = st.lists(thresholds | evidence, max_size=3, unique_by=lambda gate: gate.name).map(tuple)
_RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=900.0)
PROGRESS = {
    Phase.DRAFT: Progress(),
    Phase.READY: Progress(phase=Phase.READY),
    Phase.RUNNING: _RUNNING,
    Phase.PAUSED: replace(_RUNNING, phase=Phase.PAUSED, paused=Pause(Cause.OPERATOR, 950.0)),
    Phase.MONITORING: replace(_RUNNING, phase=Phase.MONITORING, monitoring_since_s=950.0),
    Phase.COMPLETED: replace(_RUNNING, phase=Phase.COMPLETED),
    Phase.ROLLED_BACK: Progress(
        phase=Phase.ROLLED_BACK, attempt=1, rolled_back=RolledBack(Cause.GATE, 900.0, 950.0, 900.0, 1_000)
    ),
}
"""How far a ramp may have come, an example of each phase."""

progresses = st.sampled_from([
    *PROGRESS.values(),
    Progress(phase=Phase.READY, proposer="bob"),
    replace(PROGRESS[Phase.MONITORING], step=1),
    replace(PROGRESS[Phase.COMPLETED], attempt=2, step=1),
])  # fmt: skip


def _ramped(
    flag: FeatureFlag, plan: RampPlan | None, gates: Any, rollback: Rollback, progress: Progress
) -> FeatureFlag:
    return replace(flag, ramp=plan, gates=gates, rollback=rollback, progress=progress if plan else Progress())


ramped_flags = st.builds(
    _ramped,
    flags.map(lambda flag: replace(flag, revision=flag.revision + 1)),
    st.none() | plans,
    gate_lists,
    st.sampled_from([Rollback(), Rollback(mode="staged", stage_every="1m")]),
    progresses,
)
"""Flags as stored, each in any phase."""

stores = st.dictionaries(st.sampled_from(["draft", "on", "summarize"]), ramped_flags, max_size=3).map(
    lambda found: {name: replace(flag, feature=name) for name, flag in found.items() if _fits(flag, name)}
)


def _fits(flag: FeatureFlag, name: str) -> bool:
    """Whether the flag's salts still differ under another name."""
    try:
        replace(flag, feature=name)
    except ValueError:
        return False
    return True


def document_of(flags: dict[str, FeatureFlag], *, with_state: bool) -> dict[str, Any]:
    """The document that an export of these flags writes."""
    return {"x-rollouts": {name: exported(flag, with_state=with_state) for name, flag in flags.items()}}
