"""The benchmark's gate says what the product's functions say of the same units."""

import msgspec
import numpy as np
import pytest

from rollout.core.evidence import error_bets, ledger, pairs, pairwise, restart
from rollout.core.evidence.eprocess import log_sums, log_value
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.ledger import MetricPlan
from rollout.core.evidence.plans import ErrorCounts
from rollout.core.evidence.score import Units
from rollout.gates_bench import plan
from rollout.gates_bench.gate import EngineGate, Look
from rollout.gates_bench.kinds import LEFT_OUT, OUTCOMES, Column
from rollout.gates_bench.metrics import HARM, HARM_MARGINS, PROOF, Metrics, proof_margins
from rollout.gates_bench.plan import Engine
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import Batch, World

STAGE = 2
SHARE = plan.STAGES[STAGE].share_millipct
ENGINE = Engine(epoch_batches=3, judge_epoch_batches=3)
LOST = plan.wins_lost(plan.JUDGE_HARM)


def batches(count: int, seed: int = 5, **effects: object) -> list[Batch]:
    world = World(Scenario(name="test", truth=Truth.HARM, **effects), seed)
    return [world.batch(plan.BATCH_UNITS, number * plan.BATCH_UNITS, STAGE, 0, SHARE) for number in range(count)]


def looks(count: int, seed: int = 5, **effects: object) -> list[Look]:
    gate = EngineGate()
    return [gate.look(batch, STAGE) for batch in batches(count, seed, **effects)]


def units_of(column: Column) -> Units:
    outcome = column.kind % OUTCOMES
    return Units(
        np.full(len(outcome), column.share_millipct),
        column.kind >= OUTCOMES,
        np.where(outcome == LEFT_OUT, column.predicted, outcome),
        np.full(len(outcome), column.predicted),
    )


class Product:
    """The same by the functions that a ramp is decided with."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.harm: list[dict[int, ledger.MetricSums]] = [{} for _ in HARM]
        self.proof: list[list[ledger.MetricSums]] = [[] for _ in PROOF]
        self.errors: dict[int, dict[int, ErrorCounts]] = {}
        self.wins: dict[int, list[float]] = {}
        self.plans = [MetricPlan((), (margin,)) for margin in HARM_MARGINS]
        self.proven = [MetricPlan((margin,), ()) for margin in proof_margins(STAGE)]

    def take(self, batch: Batch, epoch: int) -> None:
        taken = self.metrics.take(batch, STAGE)
        for by_epoch, column, own in zip(self.harm, taken.harm, self.plans, strict=True):
            sums = ledger.gathered(own, units_of(column))
            by_epoch[epoch] = ledger.add(by_epoch[epoch], sums) if epoch in by_epoch else sums
        for found, column, own in zip(self.proof, taken.proof, self.proven, strict=True):
            found.append(ledger.gathered(own, units_of(column)))
        arms = [batch.failed[batch.reported & arm] for arm in (batch.candidate, ~batch.candidate)]
        found = [*(int(arm.sum()) for arm in arms), *map(len, arms)]
        before = self.errors.get(epoch, {SHARE: ErrorCounts()})[SHARE]
        self.errors[epoch] = {SHARE: ErrorCounts(*map(sum, zip(before, found, strict=True)))}
        self.wins.setdefault(epoch, []).extend((taken.wins / 2).tolist())

    def harm_values(self) -> list[float]:
        judge = {
            epoch: list(map(real, pairs.gathered(MetricPlan((), (LOST,)), np.array(wins)).harm[0]))
            for epoch, wins in self.wins.items()
        }
        scored = zip(self.plans, self.harm, strict=True)
        return [
            error_bets.log_value(self.errors, plan.ERROR_HARM),
            *(ledger.harm_log_value(own, own.harm[0], by_epoch) for own, by_epoch in scored),
            restart.log_value(judge),
        ]

    def proof_values(self) -> list[float]:
        proven = zip(self.proven, self.proof, strict=True)
        return [ledger.noninferiority_log_value(own, own.noninferiority[0], sums) for own, sums in proven]


def test_values_are_those_of_the_product() -> None:
    gate, product = EngineGate(ENGINE), Product()
    for number, batch in enumerate(batches(10, slowdown=1.05, error_ratio=1.3, quality=-0.02, lost=0.02)):
        gate.look(batch, STAGE, dwelt=False)
        product.take(batch, number // ENGINE.epoch_batches)
        assert np.log(gate.harm_values()) == pytest.approx(product.harm_values(), abs=1e-6)
        assert gate.proof_log_values(STAGE)[:-1] == pytest.approx(product.proof_values(), abs=1e-6)
    wins = np.concatenate([np.array(each) for each in product.wins.values()])
    own = log_sums(pairwise.for_noninferiority(wins, plan.wins_lost(plan.STAGES[STAGE].judge)))
    assert gate.proof_log_values(STAGE)[-1] == pytest.approx(log_value(own), abs=1e-6)


@pytest.mark.parametrize("effects", [{"slowdown": 1.5}, {"error_ratio": 8.0}, {"quality": -0.15}, {"error_ratio": 4.0}])
def test_whoever_looks_at_every_unit_rolls_back_at_the_same_one(effects: dict[str, float]) -> None:
    """Bounds skip batches; without them, all units walked, the first crossing is the same."""
    quick, thorough = EngineGate(), Thorough()
    for batch in batches(20, **effects):
        first, second = quick.look(batch, STAGE), thorough.look(batch, STAGE)
        assert first == second
        if first.rolled_back_at is not None:
            return
    pytest.fail("nobody rolled back")


class Thorough(EngineGate):
    """Walks every batch."""

    def _bounds(self, grown_by: object) -> np.ndarray:
        del grown_by
        return np.full(len(plan.METRICS), np.inf)


@pytest.mark.parametrize(
    ("effects", "reason"),
    [
        ({"error_ratio": 30.0}, "errors"),
        ({"slowdown": 3.0}, "itl_p95"),
        ({"quality": -0.25}, "judge"),
        ({"bad_form": 0.2}, "form"),
    ],
)
def test_harm_is_rolled_back_and_the_metric_is_named(effects: dict[str, float], reason: str) -> None:
    found = [look for look in looks(12, **effects) if look.rolled_back_at is not None]
    assert found[0].reason == reason
    assert not found[0].promote


def test_an_equal_candidate_is_neither_rolled_back_nor_promoted_at_once() -> None:
    assert all(look.rolled_back_at is None and not look.frozen and not look.promote for look in looks(4))


def test_an_equal_candidate_is_promoted_in_time() -> None:
    assert any(look.promote for look in looks(120))


def test_who_warns_is_not_promoted() -> None:
    quiet, warned = EngineGate(), EngineGate(msgspec.structs.replace(Engine(), warn=0.0))
    for batch in batches(120):
        promoted = quiet.look(batch, STAGE).promote
        assert not warned.look(batch, STAGE).promote
        if promoted:
            return
    pytest.fail("nobody was promoted")


def test_lost_units_freeze() -> None:
    assert looks(20, lost=0.5)[-1].frozen
