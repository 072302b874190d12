import pytest
from msgspec.structs import replace

from rollout.core.evidence.names import (
    DRAWN,
    JUDGE,
    LATENCY,
    METRICS,
    THUMBS,
    Quantile,
    age_s_of,
    gathers,
    gathers_pairs,
    has_begun,
    is_asked,
    is_drawn,
    is_gathered,
)
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, Role

GATE = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03)
OF_PAIRS = replace(GATE, metric=JUDGE)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=1_000,
    gates=(GATE,),
    progress=Progress(phase=Phase.RUNNING, attempt=1),
)


def test_what_may_be_asked_for() -> None:
    assert METRICS.difference(DRAWN) == {JUDGE}
    assert {"errors", "form", "thumbs", "ttft_p50", "itl_p99", "total_p95"} < DRAWN
    assert (len(LATENCY), LATENCY["ttft_p95"]) == (9, Quantile("ttft", 0.95))


def test_a_gate_of_evidence_needs_a_metric_and_a_bound() -> None:
    assert is_gathered(GATE)
    assert not is_gathered(replace(GATE, source="promql"))
    assert not is_gathered(replace(GATE, metric="charm"))
    assert not is_gathered(replace(GATE, margin=None))
    floor = replace(GATE, kind=GateKind.THRESHOLD, margin=None)
    assert not is_gathered(floor)
    assert is_gathered(replace(floor, limit=0.05))


@pytest.mark.parametrize("phase", Phase)
def test_evidence_is_gathered_while_a_ramp_is_under_way(phase: Phase) -> None:
    at_rest = phase in {Phase.DRAFT, Phase.READY, Phase.COMPLETED}
    for collects, gate in ((gathers, GATE), (gathers_pairs, OF_PAIRS)):
        flag = replace(FLAG, gates=(gate,), progress=Progress(phase=phase, attempt=1))
        assert collects(flag) is has_begun(flag) is not at_rest
        assert not collects(replace(flag, progress=Progress(phase=phase)))  # no attempt: nothing begins yet


@pytest.mark.parametrize(("share", "drawn"), [(0, False), (1, True), (BUCKETS - 1, True), (BUCKETS, False)])
def test_units_need_a_draw_and_pairs_do_not(share: int, *, drawn: bool) -> None:
    assert is_drawn(share) is drawn
    assert gathers(replace(FLAG, share_millipct=share)) is drawn
    assert gathers_pairs(replace(FLAG, gates=(OF_PAIRS,), share_millipct=share))


@pytest.mark.parametrize(("share", "asked"), [(0, False), (1, True), (BUCKETS, True)])
def test_a_floor_needs_the_candidate_alone(share: int, *, asked: bool) -> None:
    floor = replace(GATE, kind=GateKind.THRESHOLD, margin=None, limit=0.05)
    assert is_asked(floor, share) is asked
    assert gathers(replace(FLAG, gates=(GATE, floor), share_millipct=share)) is asked


@pytest.mark.parametrize("gates", [(), (replace(GATE, source="promql"),)])
def test_where_nobody_asks_nothing_is_gathered(gates: tuple[Gate, ...]) -> None:
    assert not gathers(replace(FLAG, gates=gates))
    assert not gathers_pairs(replace(FLAG, gates=gates))


def test_units_and_pairs_are_asked_for_apart() -> None:
    assert not gathers(replace(FLAG, gates=(OF_PAIRS,)))
    assert not gathers_pairs(FLAG)


def test_ratings_come_later_than_what_the_request_tells() -> None:
    flag = replace(FLAG, evidence=Evidence(age="10s", feedback_age="20m"))
    assert (age_s_of(flag, "errors"), age_s_of(flag, "ttft_p95"), age_s_of(flag, THUMBS)) == (10.0, 10.0, 1_200.0)
