"""What was allowed to happen to a ramp: the witness knows it from the history alone, not from the ramp's own words."""

from collections import Counter
from math import inf, nan
from typing import NamedTuple

import msgspec

from rollout.core.gates import Reading, Result, Verdict
from rollout.core.ramp_model import FailureRule, Gate, GateKind, Phase, RampPlan, Role, Step
from rollout.core.ramp_table import EffectKind, Event, Observations, Ramp, Transition

PLAN = RampPlan(
    steps=(
        Step(share=1_000, bake="1m", min_samples=10, max_duration="20m"),
        Step(share=5_000, bake="1m", min_samples=10, approval=True),
        Step(share=20_000, bake="1m", max_duration="20m"),
        Step(share=60_000, bake="1m", min_samples=10),
    ),
    cooldown="10m",
    post_monitor="2m",
    no_data_pause="5m",
)
LIMIT, BURST, BURST_S = 3, 4, 600.0
GATES = (
    Gate(
        name="errors",
        role=Role.HARD,
        source="promql",
        kind=GateKind.THRESHOLD,
        limit=0.05,
        failure=FailureRule(count=LIMIT),
    ),
    Gate(
        name="burst",
        role=Role.HARD,
        source="promql",
        kind=GateKind.THRESHOLD,
        limit=0.05,
        failure=FailureRule(count=BURST, within="10m"),
    ),
    Gate(name="quality", role=Role.SOFT, source="evidence", kind=GateKind.NONINFERIORITY, metric="score"),
    Gate(name="cost", role=Role.OBSERVE, source="promql", kind=GateKind.THRESHOLD, limit=0.05),
)
HARD, ENFORCED = ("errors", "burst"), ("errors", "burst", "quality")
# What ends with a person as the one who may not approve it.
PROPOSING = {"create", "start", "restart", "resume", "advance", "jump", "set_share", "end"}

Measured = Reading | Verdict | None


class Seen(NamedTuple):
    """One thing that happened. `labels`: what each gate's measurement was in truth."""

    what: str
    actor: str
    before: Ramp
    made: Transition | None
    after: Ramp
    now_s: float
    observed: Observations
    labels: dict[str, str]


def measurement(gate: str, label: str, now_s: float, since_s: float, fault: int) -> Measured:
    """A measurement that is good, bad, or by one of many faults none at all."""
    if label != "absent":
        value, from_s = (0.01 if label == "good" else 0.5), min(since_s, now_s)
        if gate == "quality":
            result = Result.PASS if label == "good" else Result.FAIL
            return Verdict(gate, result, label, now_s, from_s=from_s, value=value)
        return Reading(value, now_s, from_s, samples=50)
    verdict = Verdict(gate, Result.PASS, "", now_s, from_s=since_s, value=0.01)
    faults: list[Measured] = [
        None,
        Reading(),
        Reading(nan, now_s, since_s),
        Reading(-inf, now_s, since_s),
        Reading(0.01, now_s - 200, since_s),
        Reading(0.01, now_s, since_s, series=2),
        Reading(0.01, now_s, since_s, error="refused"),
        Reading(0.01, now_s + 60, since_s),
        Reading(0.01, now_s, since_s - 1),
        msgspec.structs.replace(verdict, value=nan),
        msgspec.structs.replace(verdict, gate="misspelt"),
        msgspec.structs.replace(verdict, from_s=since_s - 1),
    ]
    return faults[fault % len(faults)]


class Witness:
    """Holds each invariant against what is seen; `broken` and `tried` by its number."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.tried: Counter[str] = Counter()
        self.rows: dict[str, list[tuple[float, str]]] = {name: [] for name in HARD}
        self.proposer = ""
        self.approval: tuple[int, int, str] | None = None
        self.rolled_back_s = 0.0

    def holds(self, number: str, condition: bool, seen: Seen | str) -> None:  # noqa: FBT001
        self.tried[number] += 1
        if not condition:
            self.broken.append(f"{number}: {seen}")

    def see(self, seen: Seen) -> None:
        self.tried["steps"] += 1
        if seen.made is None:
            self.holds("refused", seen.after == seen.before, seen)
            return
        ticked, rises = seen.what == "tick", seen.after.share_millipct > seen.before.share_millipct
        self.kill(seen, rises=rises)
        if ticked:
            self.rise(seen, rises=rises)
            self.absence(seen, rises=rises)
            self.failure(seen)
            self.holds("12", seen.before.progress.phase is not Phase.PAUSED or not rises, seen)
        if rises:
            self.approved(seen)
        self.rollback(seen, rises=rises)
        self.remember(seen)

    def kill(self, seen: Seen, *, rises: bool) -> None:
        if seen.before.killed or seen.what == "unkill":
            was, is_ = (each.progress.phase in {Phase.RUNNING, Phase.MONITORING} for each in (seen.before, seen.after))
            # Under the kill of a replica a ramp runs until the next tick.
            self.holds("05", not rises and not (is_ and (seen.what in {"tick", "unkill"} or not was)), seen)

    def rise(self, seen: Seen, *, rises: bool) -> None:
        before, after = seen.before.progress, seen.after.progress
        steps = after.step - before.step
        self.holds("06", steps in {0, 1} and (not rises or steps == 1), seen)
        if not steps:
            return
        self.tried["rises"] += 1
        observed, criteria = seen.observed, PLAN.criteria(before.step)
        began_s = before.step_began_s
        self.holds("06", seen.now_s - began_s >= criteria.bake_s, seen)
        self.holds("06", all(seen.labels[gate] == "good" for gate in ENFORCED), seen)
        starts = [getattr(observed.gates.get(gate), "from_s", None) or -inf for gate in ENFORCED]
        self.holds("06", all(start >= began_s for start in starts), seen)
        enough = (observed.samples or 0) >= criteria.min_samples and (observed.samples_since_s or 0.0) >= began_s
        self.holds("06", enough or not criteria.min_samples, seen)
        self.holds("06", seen.after.share_millipct == PLAN.steps[after.step].share, seen)

    def absence(self, seen: Seen, *, rises: bool) -> None:
        if any(seen.labels[gate] == "absent" for gate in ENFORCED):
            self.holds("07", not rises and seen.after.progress.step == seen.before.progress.step, seen)
        if not any(seen.labels[gate] == "bad" for gate in HARD):
            was, is_ = seen.before.progress.phase, seen.after.progress.phase
            self.holds("07", is_ is not Phase.ROLLED_BACK or was is Phase.ROLLED_BACK, seen)

    def failure(self, seen: Seen) -> None:
        """A row of distinct bad measurements rolls back; nothing less than a row, or a burst, does."""
        phase = seen.before.progress.phase
        if seen.before.killed or phase in {Phase.DRAFT, Phase.COMPLETED, Phase.ROLLED_BACK}:
            return
        for gate, row in self.rows.items():
            label = seen.labels[gate]
            if not row or row[-1] != (seen.now_s, label):
                row.append((seen.now_s, label))
        rolled = seen.after.progress.phase is Phase.ROLLED_BACK
        last = self.rows["errors"][-LIMIT:]
        if [label for _, label in last] == ["bad"] * LIMIT and len({at_s for at_s, _ in last}) == LIMIT:
            self.holds("08", rolled, seen)
        if rolled:
            measured = [label for _, label in self.rows["errors"] if label != "absent"]
            bursts = [at_s for at_s, label in self.rows["burst"] if label == "bad"]
            near = [at_s for at_s in bursts if abs(at_s - seen.now_s) <= BURST_S]
            self.holds("09", measured[-LIMIT:] == ["bad"] * LIMIT or len(near) >= BURST, seen)

    def approved(self, seen: Seen) -> None:
        entered = [step for step in PLAN.steps if step.share > seen.before.share_millipct]
        reached = next((step for step in entered if step.share >= seen.after.share_millipct), PLAN.steps[-1])
        needed = any(step.approval for step in entered if step.share <= reached.share)
        if not needed:
            return
        right = (seen.before.revision, PLAN.steps.index(reached))
        given = self.approval is not None and self.approval[:2] == right
        approver = self.approval[2] if self.approval else ""
        self.holds("17", given and approver not in {self.proposer, seen.actor}, seen)

    def rollback(self, seen: Seen, *, rises: bool) -> None:
        was, is_ = seen.before.progress.phase, seen.after.progress.phase
        falls = seen.after.share_millipct < seen.before.share_millipct
        if is_ is Phase.ROLLED_BACK:
            self.holds("16", not rises, seen)
            self.holds("18", seen.after.progress.step == seen.before.progress.step, seen)
        elif seen.what == "tick":
            self.holds("16", not falls, seen)
        if was is Phase.ROLLED_BACK and is_ is not was:
            over = seen.now_s >= self.rolled_back_s + PLAN.cooldown_s
            self.holds("18", seen.what in {"restart", "end"} and over, seen)
            self.tried["exits"] += 1
        rolls = seen.made is not None and seen.made.event in {Event.ROLL_BACK, Event.LOWER}
        if rolls and seen.before.rollback.partner_capacity_check and not (seen.what == "tick" and seen.before.killed):
            bears = seen.observed.capacity.baseline
            floor = 0 if bears is None else min(seen.before.share_millipct, 100_000 - bears)
            self.holds("21", seen.after.share_millipct >= floor, seen)
            alarmed = seen.made is not None and any(each.kind is EffectKind.ALARM for each in seen.made.effects)
            aims = {0, seen.before.rollback.to_share, *(step.share for step in PLAN.steps)}
            self.holds("21", alarmed or seen.after.share_millipct != floor or floor in aims, seen)

    def remember(self, seen: Seen) -> None:
        if seen.after.progress.attempt != seen.before.progress.attempt:
            self.rows = {name: [] for name in HARD}
        if seen.what in PROPOSING:
            self.proposer = seen.actor
        if seen.what == "approve":
            given = seen.after.progress.approval
            self.approval = (seen.after.revision, given.step if given else -1, seen.actor)
        if seen.after.progress.phase is Phase.ROLLED_BACK and seen.before.progress.phase is not Phase.ROLLED_BACK:
            self.rolled_back_s = seen.now_s
        self.tried[seen.after.progress.phase] += 1
