"""One ramp of a flag by user, decided by the product's own verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from rollout.core.evidence.known import KnownSums
from rollout.core.evidence.plans import EPOCH_S
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.gates import Result
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.gates_bench.users.books import UsersBooks
from rollout.gates_bench.users.world import MARGIN, UsersWorld

if TYPE_CHECKING:
    from rollout.core.gates import Verdict
    from rollout.core.sums import SumKey
    from rollout.gates_bench.users.world import UsersScenario

REQUESTS_PER_S = 10
LOOK_REQUESTS = round(EPOCH_S * REQUESTS_PER_S)
"""One looks once in each epoch."""
_BEGAN_S = 1_000_000.0


class Stage(NamedTuple):
    """A step of the ramp: its share, and between how many requests it is left; later it is held."""

    share_millipct: int
    requests_min: int
    requests_max: int


STAGES = (Stage(10_000, 12_000, 24_000), Stage(50_000, 12_000, 36_000))
HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=MARGIN)
PROOF = Gate(
    name="fine", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="form", margin=MARGIN,
    early=(EarlyMargin(below=STAGES[-1].share_millipct, margin=2 * MARGIN),),
)  # fmt: skip
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    bucket_by=UnitKind.USER,
    ramp=RampPlan(steps=tuple(Step(share=stage.share_millipct) for stage in STAGES)),
    gates=(HARM, PROOF),
)


class UsersRun(msgspec.Struct, frozen=True, array_like=True):
    """How a ramp ended: rolled_back, completed or held; after how many requests; by groups or by first requests."""

    end: str
    requests: int
    by_groups: bool


class _Ramp:
    """A ramp under way."""

    def __init__(self, scenario: UsersScenario, seed: int) -> None:
        self._world, self._books = UsersWorld(scenario, seed), UsersBooks()
        self._sums: dict[SumKey, tuple[int, ...]] = {}
        self.requests = 0

    @property
    def now_s(self) -> float:
        return _BEGAN_S + self.requests / REQUESTS_PER_S

    def look(self, flag: FeatureFlag) -> dict[str, Verdict]:
        """Let requests come, and then ask."""
        batch = self._world.requests(LOOK_REQUESTS, flag.share_millipct)
        for key, row in self._books.summed(flag, batch, self.now_s).items():
            before = self._sums.get(key)
            self._sums[key] = tuple(row) if before is None else tuple(map(int.__add__, before, row))
        self.requests += LOOK_REQUESTS
        return verdicts_of(flag, KnownSums(self._sums), self.now_s)

    def ended(self, end: str, verdict: Verdict) -> UsersRun:
        return UsersRun(end, self.requests, verdict.estimate is not None and verdict.estimate.by_bound)


def run(scenario: UsersScenario, seed: int) -> UsersRun:
    """Ramp `scenario` up."""
    ramp = _Ramp(scenario, seed)
    for step, stage in enumerate(STAGES):
        verdict = _stage(ramp, flag_at(step, ramp.now_s), stage)
        if verdict.result is not Result.PASS:
            return ramp.ended("rolled_back" if verdict.result is Result.FAIL else "held", verdict)
    return ramp.ended("completed", verdict)


def _stage(ramp: _Ramp, flag: FeatureFlag, stage: Stage) -> Verdict:
    """The verdict that ends a stage: PASS of the proof, FAIL of harm, or else the last of the proof."""
    for requests in range(LOOK_REQUESTS, stage.requests_max + 1, LOOK_REQUESTS):
        found = ramp.look(flag)
        if found[HARM.name].result is Result.FAIL:
            return found[HARM.name]
        proof = found[PROOF.name]
        if proof.result is Result.PASS and requests >= stage.requests_min:
            break
    return proof


def flag_at(step: int, now_s: float) -> FeatureFlag:
    """The flag as a step begins."""
    progress = Progress(phase=Phase.RUNNING, attempt=1, step=step, ramp_began_s=_BEGAN_S, step_began_s=now_s)
    return replace(FLAG, share_millipct=STAGES[step].share_millipct, progress=progress)
