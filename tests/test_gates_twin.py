"""The benchmark of gates is a twin of the product: on the same units the product decides the same.

Units go the whole way that they go in service but for the claim: a worker's books, a store in SQLite, and a controller
that reads it, judges by level and weight, ticks, writes, and folds. What errors say of harm is the same number, for
counts are all that it needs. All else is near: a worker's predictions begin elsewhere and are rounded, and its
yardsticks are made of so many units, the benchmark's of two batches. The decisions of all looks are the same.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.core import yardsticks
from gateway.core.checks.sampling import CheckSample
from gateway.core.unit_sums import Books
from gateway.core.units import End, Unit
from rollout.adapters import open_store
from rollout.controller import Controller, World
from rollout.core.audit import record_change
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.levels import alpha_of, weights_of
from rollout.core.evidence.plans import EPOCH_S
from rollout.core.gates import Verdict
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.gates_bench import plan
from rollout.gates_bench.gate import EngineGate
from rollout.gates_bench.plan import Engine
from rollout.gates_bench.scenarios import SCENARIOS
from rollout.gates_bench.traffic import Batch
from rollout.gates_bench.traffic import World as Traffic
from rollout.ports import Store
from tests.rollout.conftest import ManualClock

FEATURE = "draft"
BEGAN_S = 1_000_000.0
COMES_WITHIN_S = 88.0
"""So that units of a batch come after the yardsticks of the last one are in force, and come of age in one epoch."""
TOGETHER = "together"
WATCHED = plan.METRICS[:-2]
"""Without ratings and pairs."""
PROVEN = plan.REQUIRED[:-1]
HARM_MARGINS = {"errors": plan.ERROR_HARM, "form": plan.FORM_HARM}
ENGINE = Engine(weights={"errors": 4.0, "thumbs": 1e-9, "judge": 1e-9})


def margins_of(metric: str) -> list[float]:
    """What is to be proven, stage by stage."""
    field = {"errors": "error", "form": "form"}.get(metric, "latency")
    return [getattr(stage, field) for stage in plan.STAGES]


def gates() -> tuple[Gate, ...]:
    harm = [
        Gate(name=f"harm-{metric}", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric=metric,
             margin=HARM_MARGINS.get(metric, plan.LATENCY_HARM))
        for metric in WATCHED
    ]  # fmt: skip
    proof = []
    for metric in PROVEN:
        *early, final = margins_of(metric)
        shares = [stage.share_millipct for stage in plan.STAGES[1:]]
        wider = tuple(EarlyMargin(below=share, margin=margin) for share, margin in zip(shares, early, strict=True))
        proof.append(
            Gate(name=f"proof-{metric}", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric=metric,
                 margin=final, early=wider)
        )  # fmt: skip
    return (*harm, *proof)


def flag_at(stage: int) -> FeatureFlag:
    bake = f"{round(plan.STAGE_UNITS_MIN / plan.REQUESTS_PER_S)}s"
    steps = tuple(Step(share=each.share_millipct, bake=bake) for each in plan.STAGES)
    progress = Progress(phase=Phase.RUNNING, attempt=1, step=stage, ramp_began_s=BEGAN_S, step_began_s=BEGAN_S)
    return FeatureFlag(
        feature=FEATURE, candidate="inhouse", baseline="partner", share_millipct=steps[stage].share,
        ramp=RampPlan(steps=steps), gates=gates(), progress=progress,
    )  # fmt: skip


class Look(NamedTuple):
    """What is said after a batch: log e-values by gate, and whether to go back, or on."""

    log_values: dict[str, float]
    rolls_back: bool
    goes_on: bool


class Product:
    """A worker and a controller at one store."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.bad_form = store, ManualClock(), set[str]()
        self.books = Books(CheckSample(BUCKETS), lambda unit: unit.request_id in self.bad_form)
        self.controller = Controller(store, World(self.clock, "one"), every_s=60.0)
        self.flag = flag_at(0)

    async def begin(self, stage: int, before: Batch) -> None:
        """A ramp begins, and yardsticks are known from what the baseline did before."""
        self.clock.at_s, flag = BEGAN_S, flag_at(stage)
        entry = record_change(None, flag, actor="ann", command="start", reason="try it", at_s=BEGAN_S)
        self.flag = await self.store.put_if_revision(flag, 0, entry)
        self.books.learn(compile_snapshot({FEATURE: self.flag}, self.flag.revision))
        self.books.watch(BEGAN_S - 2 * self.flag.evidence.age_s, self._units(before, BEGAN_S - 2 * EPOCH_S, -1))

    async def look(self, batch: Batch, number: int) -> Look:
        """The batch enters in the epoch of this number, at the end of which the controller looks."""
        before = self.flag
        self.books.learn(compile_snapshot({FEATURE: before}, before.revision))
        self.clock.at_s = BEGAN_S + (number + 1) * EPOCH_S
        units = self._units(batch, BEGAN_S + number * EPOCH_S + 1.0, number)
        assert await self.store.add_sums(
            self.books.summed(self.books.judged(self.clock.at_s, units)), f"worker:{number}"
        )
        await self.controller.turn()
        while self.controller._looks:
            await asyncio.wait(self.controller._looks.values())
        self.flag = await self.store.get(FEATURE) or before
        verdicts = self.controller.shown[FEATURE].verdicts
        step_before, now = before.progress.step, self.flag.progress
        return Look(
            {named(each): math.log(each.value or 1.0) for each in verdicts},
            now.phase is Phase.ROLLED_BACK,
            now.step > step_before,
        )

    def _units(self, batch: Batch, from_s: float, number: int) -> list[Unit]:
        self.bad_form = {f"{number}-{index}" for index, good in enumerate(batch.good_form.tolist()) if not good}
        columns = (batch.candidate, batch.failed, batch.ttft_s, batch.itl_s, batch.total_s)
        return [
            Unit(
                from_s + index * COMES_WITHIN_S / len(columns[0]), (number + 2) * 10_000 + index, FEATURE,
                self.flag.revision, candidate, self.flag.evidence.age_s, f"{number}-{index}", float(not failed),
                End.FAILED if failed else End.ANSWERED, total_s, ttft_s, itl_s, stream=True,
            )
            for index, (candidate, failed, ttft_s, itl_s, total_s) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True)
            )
        ]  # fmt: skip


def named(verdict: Verdict) -> str:
    """The verdict of a gate that leads others which stop the ramp together has the value of all."""
    together = verdict.gate.startswith("harm-") and verdict.limit == 1.0 / ENGINE.alpha
    return TOGETHER if together else verdict.gate


def twin_look(gate: EngineGate, batch: Batch, stage: int, *, dwelt: bool) -> Look:
    """The same of the twin, at the end of the batch."""
    gate.look(batch, stage)
    harm = dict(zip(plan.METRICS, gate.harm_values().tolist(), strict=True))
    proof = dict(zip(plan.REQUIRED, gate.proof_log_values(stage), strict=True))
    limit = -math.log(ENGINE.alpha)
    combined = gate.combined().log_value
    goes_back = combined >= limit
    proven = all(proof[metric] >= limit and harm[metric] < ENGINE.warn for metric in PROVEN)
    log_values = {f"harm-{metric}": math.log(harm[metric]) for metric in WATCHED}
    log_values |= {f"proof-{metric}": proof[metric] for metric in PROVEN}
    return Look(log_values | {TOGETHER: combined}, goes_back, dwelt and proven and not goes_back)


async def walked(store: Store, name: str, stage: int, seed: int, looks: int) -> list[tuple[Look, Look]]:
    """What product and twin say of the same units, look by look, until the product has gone back."""
    (scenario,) = [each for each in SCENARIOS if each.name == name]
    traffic, gate, product = Traffic(scenario, seed), EngineGate(ENGINE), Product(store)
    before = traffic.batch(plan.BATCH_UNITS, 0, 0, 0, 0)
    gate.learn(before)
    await product.begin(stage, before)
    found: list[tuple[Look, Look]] = []
    stage_units = 0
    for number in range(looks):
        share = plan.STAGES[stage].share_millipct
        batch = traffic.batch(plan.BATCH_UNITS, number * plan.BATCH_UNITS, stage, stage_units, share)
        stage_units += plan.BATCH_UNITS
        one = await product.look(batch, number)
        found.append((one, twin_look(gate, batch, stage, dwelt=stage_units >= plan.STAGE_UNITS_MIN)))
        if one.rolls_back:
            break
        if one.goes_on:
            gate.leave_stage()
            stage, stage_units = stage + 1, 0
    return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.close()


def test_levels_and_weights_are_the_same() -> None:
    flag = flag_at(0)
    assert {alpha_of(gate, flag) for gate in flag.gates} == {ENGINE.alpha}
    expected = {f"harm-{metric}": pytest.approx(ENGINE.weight(metric), abs=1e-8) for metric in WATCHED}
    assert weights_of(flag) == expected


@pytest.mark.parametrize(
    ("name", "stage", "seed", "looks", "end"),
    [
        *(("errors 1 -> 30 %", 0, seed, 10, "rolls_back") for seed in (1, 2, 3)),
        *(("p95 +50 %", 0, seed, 14, "rolls_back") for seed in (1, 2, 3)),
        ("errors 1 -> 5 %", 0, 3, 4, "rolls_back"),
        ("A/A", 2, 1, 11, "goes_on"),
    ],
)
async def test_the_product_decides_as_its_twin(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, stage: int, seed: int, looks: int, end: str
) -> None:
    baselines = 1.0 - plan.STAGES[stage].share_millipct / BUCKETS
    monkeypatch.setattr(yardsticks, "UNITS_MAX", round(plan.YARDSTICK_BATCHES * plan.BATCH_UNITS * baselines))
    found = await walked(store, name, stage, seed, looks)
    assert [(one.rolls_back, one.goes_on) for one, _ in found] == [(twin.rolls_back, twin.goes_on) for _, twin in found]
    assert {each for one, _ in found for each in ("rolls_back", "goes_on") if getattr(one, each)} == {end}
    for one, twin in found:
        assert len(one.log_values) == len(WATCHED) + len(PROVEN)
        for gate, log_value in one.log_values.items():
            assert log_value == pytest.approx(twin.log_values[gate], abs=near(gate)), gate


def near(gate: str) -> float:
    """In nats. In proof near the limit a unit weighs more, and a yardstick that is a bucket away moves some."""
    return 1e-6 if gate == "harm-errors" else 1.0 if gate.startswith("proof-") else 0.1
