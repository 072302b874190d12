import pytest

from rollout.gates_bench import plan
from rollout.gates_bench.gate import EngineGate, Look
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import World


def looks(batches: int, stage: int, seed: int = 5, **effects: float) -> list[Look]:
    world, gate = World(Scenario(name="test", truth=Truth.HARM, **effects), seed), EngineGate(seed)
    share = plan.STAGES[stage].share_millipct
    return [
        gate.look(world.batch(plan.BATCH_UNITS, number * plan.BATCH_UNITS, stage, 0, share), stage)
        for number in range(batches)
    ]


@pytest.mark.parametrize(
    ("effects", "reason"),
    [({"error_ratio": 30.0}, "errors"), ({"slowdown": 3.0}, "itl_p95"), ({"quality": -0.25}, "judge")],
)
def test_harm_is_rolled_back_and_the_metric_is_named(effects: dict[str, float], reason: str) -> None:
    found = [look for look in looks(12, 2, **effects) if look.rolled_back_at is not None]
    assert found[0].reason == reason
    assert not found[0].promote


def test_an_equal_candidate_is_neither_rolled_back_nor_promoted_at_once() -> None:
    found = looks(4, 3)
    assert all(look.rolled_back_at is None and not look.frozen and not look.promote for look in found)


def test_an_equal_candidate_is_promoted_in_time() -> None:
    assert any(look.promote for look in looks(120, 2))


def test_lost_units_freeze() -> None:
    assert looks(20, 3, lost=0.5)[-1].frozen
