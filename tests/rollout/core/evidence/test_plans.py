import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.ledger import MetricPlan, gathered, nothing
from rollout.core.evidence.plans import (
    EPOCH_S,
    MARGINS_MAX,
    ErrorCounts,
    began_s_of,
    epoch_of,
    error_counts,
    errors_key,
    floor_of,
    key_of,
    series_for,
    series_of,
    step_of,
    stored,
    sums_of,
    vector_of,
)
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import EarlyMargin, Evidence, Gate, GateKind, Progress, Role
from rollout.core.sums import ELEMENTS_MAX, SumKey, check_flush

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.03)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY, margin=0.05)
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1)
SLOW = replace(PROOF, name="slow", metric="ttft_p95", margin=0.1, early=(EarlyMargin(5_000, 0.3),))
PROGRESS = Progress(attempt=2, step=1, ramp_began_s=1_000.0, step_began_s=2_000.5)
PLAN = MetricPlan((0.05,), (0.03, 0.05))


def flag(*gates: Gate) -> FeatureFlag:
    return FeatureFlag(
        feature="draft", candidate="a", baseline="b", gates=gates, progress=PROGRESS, share_millipct=1_000
    )


def plans(*gates: Gate) -> list[tuple[str, MetricPlan]]:
    return [(each.metric, each.plan) for each in series_of(flag(*gates))]


def test_a_plan_is_the_margins_of_the_gates_and_harm_is_looked_for_at_the_final_ones() -> None:
    early = replace(PROOF, early=(EarlyMargin(1_000, 0.08), EarlyMargin(5_000, 0.07)))
    assert plans(HARM, PROOF, replace(PROOF, name="again")) == [("form", PLAN)]
    assert plans(HARM, early) == [("form", MetricPlan((0.05, 0.07, 0.08), (0.03, 0.05)))]
    assert plans(HARM, FLOOR, replace(FLOOR, direction="higher")) == [("form", MetricPlan((), (0.03,), (0.1, 0.9)))]
    assert plans() == plans(replace(HARM, margin=None)) == plans(replace(HARM, metric="judge")) == []


def test_errors_are_counted_for_harm_and_scored_for_the_rest() -> None:
    gates = (replace(HARM, metric="errors"), replace(PROOF, metric="errors"), replace(FLOOR, metric="errors"))
    assert plans(*gates) == [("errors", MetricPlan((0.05,), (), (0.9,)))]
    assert plans(gates[0]) == [("errors", MetricPlan((), ()))]


def test_latency_has_a_series_for_each_margin_and_each_limit() -> None:
    gates = (SLOW, replace(HARM, metric="ttft_p95", margin=0.2), replace(FLOOR, metric="ttft_p95", limit=2.0))
    found = {(each.margin, each.limit_s): each.plan for each in series_of(flag(*gates))}
    assert found == {
        (0.1, 0.0): MetricPlan((0.0,), (0.0,)),
        (0.2, 0.0): MetricPlan((), (0.0,)),
        (0.3, 0.0): MetricPlan((0.0,), ()),
        (0.0, 2.0): MetricPlan((), (), (0.95,)),
    }
    for gate, margin, expected in ((SLOW, 0.3, (0.3, 0.0)), (SLOW, 0.1, (0.1, 0.0)), (gates[2], 0.0, (0.0, 2.0))):
        series = series_for(flag(*gates), gate, margin)
        assert (series.margin, series.limit_s) == expected
    assert series_for(flag(PROOF), PROOF, 0.05).metric == "form"


def test_a_gate_that_nothing_is_gathered_for_has_no_series() -> None:
    with pytest.raises(InvalidArgument, match="no evidence is gathered for 'slow'"):
        series_for(flag(PROOF), SLOW, 0.1)
    with pytest.raises(InvalidArgument, match="no evidence is gathered"):
        series_for(flag(replace(FLOOR, metric="ttft_p95")), replace(FLOOR, metric="ttft_p95", limit=None), 0.0)


def test_margins_shrink_as_the_share_grows() -> None:
    gate = replace(PROOF, early=(EarlyMargin(25_000, 0.08), EarlyMargin(5_000, 0.2)))
    assert [gate.margin_at(share) for share in (0, 4_999, 5_000, 24_999, 25_000, 100_000)] == [
        0.2, 0.2, 0.08, 0.08, 0.05, 0.05,
    ]  # fmt: skip
    assert FLOOR.margin_at(1_000) == 0.0


def test_a_floor_is_a_rate_of_good_ones() -> None:
    assert floor_of(FLOOR) == 0.9
    assert floor_of(replace(FLOOR, direction="higher")) == 0.1
    assert floor_of(replace(FLOOR, metric="total_p50", limit=3.0)) == 0.5
    assert floor_of(replace(FLOOR, limit=None)) == 1.0


def test_a_gate_is_about_its_step_or_the_ramp() -> None:
    assert began_s_of(PROOF, flag()) == 2_000.5
    assert began_s_of(replace(PROOF, scope="ramp"), flag()) == 1_000.0


def test_as_many_margins_as_a_vector_holds() -> None:
    gates = [replace(HARM, name=f"g{number}", margin=0.001 * number) for number in range(1, MARGINS_MAX + 2)]
    (series,) = series_of(flag(*gates[:-1]))
    vector = vector_of(nothing(series.plan))
    assert len(vector) <= ELEMENTS_MAX
    check_flush({SumKey("draft", 1, series.prefix): vector}, "1")
    with pytest.raises(InvalidArgument, match="too many margins of form"):
        series_of(flag(*gates))


def test_sums_of_another_plan_or_age_are_elsewhere() -> None:
    flags = [
        flag(PROOF),
        flag(HARM, PROOF),
        flag(PROOF, FLOOR),
        replace(flag(PROOF), evidence=Evidence(age="31s")),
        flag(replace(PROOF, metric="errors")),
    ]
    assert len({series_of(each)[0].prefix for each in flags}) == len(flags)
    moved = replace(flags[0], evidence=Evidence(feedback_age="30m"))
    assert series_of(moved) == series_of(flags[0])


@given(
    st.lists(st.tuples(st.integers(1, 99_999), st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9)
)
def test_sums_come_back_as_they_were(units, rows) -> None:
    plan = MetricPlan((0.05,), (0.03, 0.05), (0.9,))
    sums = gathered(plan, units(rows))
    assert sums_of(plan, vector_of(sums)) == sums


def test_a_row_of_another_plan_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not of this plan"):
        sums_of(PLAN, vector_of(nothing(MetricPlan((), (0.03,)))))


def test_what_is_stored_is_found_by_step_and_epoch() -> None:
    asked = flag(HARM, PROOF)
    (series,) = series_of(asked)
    row = vector_of(nothing(PLAN))
    earlier = replace(PROGRESS, step_began_s=1_000.0)
    first = key_of("draft", PROGRESS, series.prefix, epoch_of(PROGRESS, 999.0))
    second = key_of("draft", earlier, series.prefix, epoch_of(PROGRESS, 1_000.0 + 3 * EPOCH_S))
    others = [
        first._replace(feature="other"),
        first._replace(epoch=1),
        first._replace(name="requests.7"),
        first._replace(name="units.1000"),
        first._replace(name=f"folded.{first.name}"),
    ]
    found = list(stored("draft", PROGRESS, series, dict.fromkeys((first, second, *others), row)))
    none = nothing(PLAN)
    assert found == [(step_of(PROGRESS), 0, none), (step_of(earlier), 3, none)]


def test_failed_units_are_counted_by_step_epoch_and_share() -> None:
    asked = flag(replace(HARM, metric="errors"))
    key = errors_key(asked, 4)
    assert key == SumKey("draft", 2, "errors.30.2000500.4.1000")
    others = [key._replace(feature="other"), key._replace(epoch=3), key._replace(name="errors.31.7.4.1000")]
    others += [key_of("draft", PROGRESS, series_of(asked)[0].prefix, 4)]
    found = list(error_counts(asked, {key: (1, 2, 30, 40)} | dict.fromkeys(others, (9, 9, 9, 9))))
    assert found == [(2_000_500, 4, 1_000, ErrorCounts(1, 2, 30, 40))]


@pytest.mark.parametrize("vector", [(1, 2), (1, 2, 3, 4, 5), (-1, 0, 3, 4), (4, 0, 3, 4), (0, 5, 3, 4)])
def test_errors_that_are_counted_otherwise_are_refused(vector: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="can't be read"):
        list(error_counts(flag(HARM), {errors_key(flag(HARM), 0): vector}))
