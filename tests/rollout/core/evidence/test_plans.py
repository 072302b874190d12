import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.ledger import MetricPlan, gathered, nothing
from rollout.core.evidence.plans import (
    EPOCH_S,
    MARGINS_MAX,
    epoch_of,
    is_gathered,
    key_of,
    plans_of,
    prefix_of,
    stored,
    sums_of,
    vector_of,
)
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Progress, Role
from rollout.core.sums import ELEMENTS_MAX, SumKey, check_flush

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY, margin=0.05)
PROGRESS = Progress(attempt=2, step=1, ramp_began_s=1_000.0, step_began_s=2_000.5)
PLAN = MetricPlan((0.05,), (0.03, 0.05))


def flag(*gates: Gate) -> FeatureFlag:
    return FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", gates=gates)


def test_a_plan_is_the_margins_of_the_gates_and_harm_is_looked_for_at_all_of_them() -> None:
    assert plans_of(flag(HARM, PROOF, replace(PROOF, name="again"))) == {"errors": PLAN}
    assert plans_of(flag(HARM)) == {"errors": MetricPlan((), (0.03,))}
    assert plans_of(flag()) == {}
    assert plans_of(flag(replace(HARM, margin=None))) == {}


@pytest.mark.parametrize("change", [{"source": "promql"}, {"metric": "judge"}, {"kind": GateKind.THRESHOLD}])
def test_other_gates_have_no_part_in_it(change: dict) -> None:
    assert is_gathered(HARM)
    assert not is_gathered(replace(HARM, **change))
    assert plans_of(flag(replace(HARM, **change))) == {}


def test_as_many_margins_as_a_vector_holds() -> None:
    gates = [replace(HARM, name=f"g{number}", margin=0.001 * number) for number in range(1, MARGINS_MAX + 2)]
    plan = plans_of(flag(*gates[:-1]))["errors"]
    vector = vector_of(nothing(plan))
    assert len(vector) <= ELEMENTS_MAX
    check_flush({SumKey("draft", 1, prefix_of("errors", plan)): vector}, "1")
    with pytest.raises(InvalidArgument, match="too many margins"):
        plans_of(flag(*gates))


def test_sums_of_other_margins_are_elsewhere() -> None:
    prefixes = {
        prefix_of("errors", plan) for plan in (PLAN, MetricPlan((), (0.03, 0.05)), MetricPlan((0.05,), (0.05,)))
    }
    assert len(prefixes) == 3


@given(
    st.lists(st.tuples(st.integers(1, 99_999), st.booleans(), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9)
)
def test_sums_come_back_as_they_were(units, rows) -> None:
    sums = gathered(PLAN, units(rows))
    assert sums_of(PLAN, vector_of(sums)) == sums


def test_a_row_of_another_plan_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not of this plan"):
        sums_of(PLAN, vector_of(nothing(MetricPlan((), (0.03,)))))


def test_what_is_stored_is_found_by_step_and_epoch() -> None:
    prefix = prefix_of("errors", PLAN)
    row = vector_of(nothing(PLAN))
    first = key_of("draft", PROGRESS, prefix, epoch_of(PROGRESS, 999.0))
    second = key_of("draft", replace(PROGRESS, step_began_s=1_000.0), prefix, epoch_of(PROGRESS, 1_000.0 + 3 * EPOCH_S))
    others = (
        first._replace(feature="ask"),
        first._replace(epoch=1),
        first._replace(name=first.name.replace(prefix, prefix_of("errors", MetricPlan((), (0.03,))))),
        SumKey("draft", 2, "requests.2000500"),
        SumKey("draft", 2, "x"),
    )
    sums = dict.fromkeys((first, second, *others), row)
    found = list(stored("draft", PROGRESS, "errors", PLAN, sums))
    assert found == [(2_000_500, 0, nothing(PLAN)), (1_000_000, 3, nothing(PLAN))]
    check_flush(sums, "1")
