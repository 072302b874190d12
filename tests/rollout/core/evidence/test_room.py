import pytest
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import pairs
from rollout.core.evidence.cluster_parts import VALUES_MAX
from rollout.core.evidence.names import LATENCY
from rollout.core.evidence.pairs import VERSIONS_MAX
from rollout.core.evidence.plans import MARGINS_MAX
from rollout.core.evidence.room import JUDGES, LASTS_S, check_room, values_of
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, RampPlan, Role, Step
from rollout.core.sums import VALUES_PER_EPOCH_MAX

HARM = Gate(name="g", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05, alpha=0.05)
EARLY = tuple(EarlyMargin(share, 0.05 + 100 / share) for share in (1_000, 5_000, 25_000, 50_000))
PROOF = replace(HARM, kind=GateKind.NONINFERIORITY, early=EARLY)
FLOOR = replace(HARM, kind=GateKind.THRESHOLD, margin=None, limit=0.1)
LONG = RampPlan(steps=tuple(Step(share=1 + 999 * number) for number in range(100)))


def flag_of(*gates: Gate, **changes: object) -> FeatureFlag:
    named = tuple(replace(gate, name=f"g{number}") for number, gate in enumerate(gates))
    return replace(FeatureFlag(feature="f", candidate="a", baseline="b", gates=named, ramp=LONG), **changes)


def of_all(*metrics: str) -> list[Gate]:
    return [replace(gate, metric=metric) for metric in metrics for gate in (PROOF, HARM, FLOOR)]


def test_the_most_that_a_judge_can_be_asked_fits_for_sixty_days() -> None:
    """By the hour it would be 1,440 vectors of 245 numbers, three and a half times what the store takes."""
    gates = [replace(HARM, metric="judge", margin=number / 100) for number in range(1, MARGINS_MAX + 1)]
    flag = flag_of(*gates)
    check_room(flag)
    vectors = JUDGES * (38 + 100) + VERSIONS_MAX - JUDGES
    assert values_of(flag) - values_of(flag_of()) == vectors * 245 < 0.75 * VALUES_PER_EPOCH_MAX
    assert LASTS_S / pairs.EPOCH_S * 245 > 3 * VALUES_PER_EPOCH_MAX


def test_every_metric_with_the_margins_of_the_stage_table_fits() -> None:
    flag = flag_of(*of_all("errors", "form", "thumbs", "judge", *LATENCY), ramp=replace(LONG, steps=LONG.steps[:6]))
    check_room(flag)
    assert values_of(flag) < 0.5 * VALUES_PER_EPOCH_MAX


def test_users_leave_room_for_what_stands_beside_them() -> None:
    flag = flag_of(*of_all("errors", "form", "judge", "ttft_p95"), bucket_by=UnitKind.USER)
    flag = replace(flag, ramp=replace(LONG, steps=LONG.steps[:6]))
    beside = values_of(replace(flag, bucket_by=UnitKind.CONVERSATION))
    assert 0 < values_of(flag) - beside <= VALUES_MAX
    check_room(flag)


def test_what_may_outgrow_the_store_is_refused() -> None:
    def wide(metric: str, number: int) -> Gate:
        early = tuple(EarlyMargin(50_000 - 1_000 * each, 0.2 + each / 10 + number / 1_000) for each in range(8))
        return replace(PROOF, metric=metric, margin=0.1 + number / 1_000, early=early)

    flag = flag_of(*(wide(metric, number) for number in range(11) for metric in LATENCY))
    with pytest.raises(InvalidArgument, match="may come to have"):
        check_room(flag)
    check_room(replace(flag, gates=flag.gates[:20]))
