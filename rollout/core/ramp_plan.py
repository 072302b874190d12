"""What is wrong with a ramp before it runs, what is doubtful, and how long it will take at the traffic there is."""

from __future__ import annotations

from collections import Counter
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import nearest_names
from rollout.core.evidence.names import DRAWN, ERRORS, FORM, ITL, LATENCY, TOTAL, is_drawn
from rollout.core.promql import MetricQuery, doubts
from rollout.core.ramp_model import Gate, GateKind, RampPlan, Role, Step, enforced
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from rollout.core.ramp_model import Rollback, Window

_ALL = 100_000
_LOOKS_LIKE_PERCENT = 100
_EFFECTIVE_UNITS = 12.5
"""Units of the sum of p(1 - p) for 80 % power, times variance by squared gap (docs: statistics)."""
_VARIANCE_MAX = 0.25
"""Of a score between 0 and 1."""
_VARIANCE_OF_ERRORS = 0.02
"""Of two in a hundred."""
_LATE_PER_MARGIN = {0.5: 0.9, 0.95: 2.3, 0.99: 3.0}
"""By quantile: by what part fewer answers are late if the bound grows by a small part (lognormal times, sigma 0.8)."""
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3_600.0, 86_400.0
FAILS_KEPT_MAX = 5_000
"""Of all gates together: each FAIL of a rule with a time is kept with the gates' memory, which a store bounds."""
_COOLDOWN_MAX_S = 90 * _DAY_S


def query_of(gate: Gate) -> MetricQuery:
    """Make a gate's query; ValueError for one that can't be asked."""
    return MetricQuery(gate.query, gate.max_age_s, gate.newest, gate.samples)


class Findings(NamedTuple):
    """`faults` keep a ramp from being created, `warnings` are shown."""

    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class PlannedStep(NamedTuple):
    """One step of a dry run; `needs_s` is the longest of baking, samples and evidence, inf where it can't end."""

    step: int
    share: int
    needs_s: float
    bake_s: float
    samples_s: float
    evidence_s: float
    approval: bool

    def __str__(self) -> str:
        """One line for an operator."""
        line = f"step {self.step} ({format_share(self.share)}): at your traffic this step needs {written(self.needs_s)}"
        return f"{line}, and the approval of a second person before" if self.approval else line


def validate(
    plan: RampPlan,
    gates: Sequence[Gate],
    rollback: Rollback,
    *,
    known_metrics: Collection[str],
    units_per_s: float | None = None,
) -> Findings:
    """Check what one value alone can't know.

    `units_per_s`: the feature's units of both arms, as recorded; None: unknown.
    """
    faults = (
        *_gate_faults(gates, known_metrics),
        *_memory_faults(gates),
        *_plan_faults(plan, gates, rollback),
        *_capacity_faults(plan, rollback),
    )
    if faults:
        return Findings(faults)
    return Findings(
        (), (*_warnings(plan, gates), *_query_warnings(gates, rollback), *_rate_warnings(plan, units_per_s))
    )


def dry_run(plan: RampPlan, gates: Sequence[Gate], units_per_s: float | None) -> tuple[PlannedStep, ...]:
    """Say what each step will need, at the best: windows, approvals and capacity come on top.

    Evidence is reckoned for two arms that are equal, 2 % of errors, and other scores that vary as much as they can.
    """
    rate = units_per_s or 0.0
    return tuple(_planned(index, step, gates, rate) for index, step in enumerate(plan.steps))


def total_s(steps: Sequence[PlannedStep], plan: RampPlan) -> float:
    """Return the seconds of the whole ramp, monitoring included."""
    return sum(step.needs_s for step in steps) + plan.post_monitor_s


def written(seconds: float) -> str:
    """Write a length of time as people say it: "2.5 h"."""
    if seconds == inf:
        return "longer than can be said"
    for unit_s, unit in ((_DAY_S, "days"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            number = f"{seconds / unit_s:.3g}"
            return f"{number} {'day' if (number, unit) == ('1', 'days') else unit}"
    return f"{seconds:.3g} s"


def _planned(index: int, step: Step, gates: Sequence[Gate], rate: float) -> PlannedStep:
    samples_s = _per_rate(step.min_samples, rate * step.share / _ALL)
    share = step.share / _ALL
    units = [_evidence_units(gate, step.share) for gate in enforced(gates)]
    evidence_s = _per_rate(max(units, default=0.0), rate * share * (1 - share))
    window_s = max((gate.window_s for gate in enforced(gates)), default=0.0)
    needs_s = max(step.bake_s, window_s, samples_s, evidence_s)
    return PlannedStep(index, step.share, needs_s, step.bake_s, samples_s, evidence_s, step.approval)


def _evidence_units(gate: Gate, share: int) -> float:
    """Of the sum of p(1 - p); none where nothing is drawn, and of pairs, which come at any share."""
    asked = gate.kind is GateKind.NONINFERIORITY and gate.margin is not None
    if not asked or gate.metric not in DRAWN or not is_drawn(share):
        return 0.0
    gap, variance = gate.margin_at(share), _VARIANCE_OF_ERRORS if gate.metric == ERRORS else _VARIANCE_MAX
    if gate.metric in LATENCY:
        quantile = LATENCY[gate.metric].quantile
        gap, variance = gap * (1.0 - quantile) * _LATE_PER_MARGIN[quantile], quantile * (1.0 - quantile)
    return _EFFECTIVE_UNITS * variance / gap**2


def _per_rate(units: float, per_s: float) -> float:
    if not units:
        return 0.0
    return units / per_s if per_s > 0 else inf


def _gate_faults(gates: Sequence[Gate], known_metrics: Collection[str]) -> Iterator[str]:
    for name, times in Counter(gate.name for gate in gates).items():
        if times > 1:
            yield f"{times} gates are called {name!r}"
    for gate in gates:
        yield from (f"gate {gate.name!r} {fault}" for fault in _faults_of(gate, known_metrics))


def _memory_faults(gates: Sequence[Gate]) -> Iterator[str]:
    kept = sum(gate.failure.count for gate in gates if gate.failure is not None)
    if kept > FAILS_KEPT_MAX:
        yield f"the gates' failure rules count {kept} FAILs in all, at most {FAILS_KEPT_MAX} can be kept"


def _faults_of(gate: Gate, known_metrics: Collection[str]) -> Iterator[str]:
    if gate.source == "promql":
        yield from _query_faults(lambda: query_of(gate))
    if gate.source == "promql" and gate.kind is not GateKind.THRESHOLD:
        yield f"can't show {gate.kind} from PromQL: use kind threshold, or source evidence"
    if gate.source == "evidence" and gate.metric not in known_metrics:
        nearest = nearest_names(gate.metric, known_metrics)
        meant = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(sorted(known_metrics))}"
        yield f"asks for the unknown metric {gate.metric!r}; {meant}"
    if gate.kind is GateKind.THRESHOLD:
        if gate.limit is None:
            yield "needs a limit"
        if gate.source == "promql" and gate.failure is None and gate.role is not Role.OBSERVE:
            yield "needs a failure rule: how many FAILs, in a row or within what time, count"
    else:
        yield from (f"needs {name}" for name in ("margin", "alpha") if getattr(gate, name) is None)


def _capacity_faults(plan: RampPlan, rollback: Rollback) -> Iterator[str]:
    for name, query in (("candidate", plan.candidate_capacity), ("baseline", rollback.baseline_capacity)):
        if query:
            yield from (f"{name}_capacity {fault}" for fault in _query_faults(partial(MetricQuery, query)))


def _query_faults(make: Callable[[], MetricQuery]) -> Iterator[str]:
    try:
        make()
    except ValueError as fault:
        yield f"can't be asked: {fault}"


def _plan_faults(plan: RampPlan, gates: Sequence[Gate], rollback: Rollback) -> Iterator[str]:
    for index, step in enumerate(plan.steps):
        yield from (f"step {index} {fault}" for fault in _step_faults(step, enforced(gates)))
    for window in plan.windows:
        if window.opens == window.closes or not window.days:
            yield f"the window {window.opens}-{window.closes} never opens"
    for freeze in plan.freezes:
        if freeze.last < freeze.first:
            yield f"the freeze from {freeze.first} ends before it begins"
    if plan.cooldown_s > _COOLDOWN_MAX_S:
        yield f"a cooldown of {plan.cooldown} is too long: nothing but time ends it, give at most 90d"
    if rollback.to_share >= plan.steps[-1].share:
        yield f"a rollback to {format_share(rollback.to_share)} would give nothing back"


def _step_faults(step: Step, held: Sequence[Gate]) -> Iterator[str]:
    if held and step.bake_s == 0:
        yield "doesn't bake, so its gates would judge nothing"
    if step.share == 0 and step.min_samples:
        yield "gives nobody the candidate, so it can't have min_samples"
    limit_s, window_s = step.max_duration_s, max((gate.window_s for gate in held), default=0.0)
    if limit_s is not None and limit_s <= max(step.bake_s, window_s):
        yield "must end before it has baked and its gates have a window of their own"


def _warnings(plan: RampPlan, gates: Sequence[Gate]) -> Iterator[str]:
    if plan.steps[-1].share <= _LOOKS_LIKE_PERCENT:
        yield f"the last share is {format_share(plan.steps[-1].share)}: shares are in thousandths of a percent"
    if not enforced(gates):
        yield "no gate holds this ramp: time alone raises the share"
    if not any(gate.role is Role.HARD and gate.kind is not GateKind.NONINFERIORITY for gate in gates):
        yield "no gate is hard and can fail: nothing rolls back by itself"
    drawn = [gate.name for gate in enforced(gates) if gate.metric in DRAWN and gate.source == "evidence"]
    if drawn and plan.steps[-1].share == _ALL:
        yield f"at 100% there is no baseline to compare with: {', '.join(drawn)} are not asked in the last step"
    asked = {gate.metric for gate in enforced(gates) if gate.source == "evidence"}
    if ERRORS in asked and not asked & LATENCY.keys():
        yield "errors don't count callers who leave before an answer begins: let a gate on ttft or total see them"
    yield from _stop_warnings(gates)
    if plan.windows and any(step.max_duration for step in plan.steps):
        closed_s = max(_closed_s(window) for window in plan.windows)
        short = [str(index) for index, step in enumerate(plan.steps) if (step.max_duration_s or inf) < closed_s]
        if short:
            yield f"steps {', '.join(short)} may run out of time while the window is closed"


def _stop_warnings(gates: Sequence[Gate]) -> Iterator[str]:
    """An answer that its caller stops is left out of gaps and form, and a slow arm is stopped more often."""
    parts = {each.name: _part_of(each.metric) for each in enforced(gates) if each.source == "evidence"}
    blind = [each.name for each in gates if each.role is Role.HARD and parts.get(each.name) in {ITL, FORM}]
    if blind and TOTAL not in parts.values():
        what = "answers that callers stop, of which a slow candidate has more: let a gate on total see them"
        yield f"{', '.join(blind)} leave out {what}"


def _part_of(metric: str) -> str:
    return LATENCY[metric].part if metric in LATENCY else metric


def _query_warnings(gates: Sequence[Gate], rollback: Rollback) -> Iterator[str]:
    for gate in gates:
        if gate.source != "promql":
            continue
        yield from (f"gate {gate.name!r}: {doubt}" for doubt in doubts(query_of(gate)))
        if gate.min_samples and not gate.samples:
            yield f"gate {gate.name!r} has min_samples, but no query says how many there were: it will never pass"
    if rollback.partner_capacity_check and not rollback.baseline_capacity:
        yield "partner_capacity_check has no baseline_capacity to read: rollbacks don't wait for the partner"


def _closed_s(window: Window) -> float:
    opens, closes = (int(each[:2]) * _HOUR_S + int(each[3:]) * _MINUTE_S for each in (window.opens, window.closes))
    return _DAY_S - (closes - opens) % _DAY_S


def _rate_warnings(plan: RampPlan, units_per_s: float | None) -> Iterator[str]:
    if units_per_s is None:
        return
    for index, step in enumerate(plan.steps):
        needs_s = _per_rate(step.min_samples, units_per_s * step.share / _ALL)
        limit_s = step.max_duration_s
        if limit_s is not None and needs_s > limit_s:
            samples = f"{step.min_samples} samples need {written(needs_s)} at your traffic"
            yield f"step {index}: {samples}, but it may last {written(limit_s)}"
