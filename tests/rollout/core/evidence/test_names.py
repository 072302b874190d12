import pytest
from msgspec.structs import replace

from rollout.core.evidence.names import AGES_S, MEASURED, METRICS, gathers
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role

GATE = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=1_000,
    gates=(GATE,),
    progress=Progress(phase=Phase.RUNNING),
)


def test_what_is_measured_can_be_asked_for() -> None:
    assert MEASURED <= METRICS
    assert {"errors", "judge", "ttft_p95"} <= METRICS
    assert all(age_s > 0 for age_s in AGES_S.values())


@pytest.mark.parametrize("phase", Phase)
def test_evidence_is_gathered_while_a_ramp_is_under_way(phase: Phase) -> None:
    at_rest = phase in {Phase.DRAFT, Phase.COMPLETED}
    assert gathers(replace(FLAG, progress=Progress(phase=phase))) is not at_rest


@pytest.mark.parametrize(("share", "gathered"), [(0, False), (1, True), (BUCKETS - 1, True), (BUCKETS, False)])
def test_where_nothing_is_drawn_nothing_is_gathered(share, gathered) -> None:
    assert gathers(replace(FLAG, share_millipct=share)) is gathered


@pytest.mark.parametrize("gates", [(), (replace(GATE, source="promql"),), (replace(GATE, metric="judge"),)])
def test_where_nobody_asks_nothing_is_gathered(gates: tuple[Gate, ...]) -> None:
    assert not gathers(replace(FLAG, gates=gates))
