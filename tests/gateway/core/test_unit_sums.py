import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.unit_sums import Books
from gateway.core.units import Unit
from rollout.core.claims import Claim, draw_of
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.arms import units_key
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.plans import EPOCH_S, key_of, plans_of, prefix_of, stored, vector_of
from rollout.core.evidence.score import Units
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, RampPlan, Role, Step

AGE_S = 60.0
GATE = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03, alpha=0.05
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=1,
    share_millipct=10_000,
    ramp=RampPlan(steps=(Step(share=10_000), Step(share=50_000))),
    gates=(GATE,),
    progress=Progress(phase=Phase.RUNNING, attempt=2, step=0, ramp_began_s=1_000.0, step_began_s=1_000.0),
)
PLAN = plans_of(FLAG)["errors"]
PREFIX = prefix_of("errors", PLAN)


def unit(number: int, success: float | None = 1.0, *, arrived_s: float = 1_010.0, revision: int = 1) -> Unit:
    return Unit(arrived_s, number, "draft", revision, number % 2 == 0, success)


def learned(*flags: FeatureFlag) -> Books:
    books = Books()
    for flag in flags:
        books.learn(compile_snapshot({flag.feature: flag}, flag.revision))
    return books


def expected(units: list[Unit], predicted: float) -> list[int]:
    columns = Units(
        np.full(len(units), 10_000),
        np.array([each.candidate for each in units], bool),
        np.array([predicted if each.success is None else each.success for each in units], float),
        np.full(len(units), predicted),
    )
    return vector_of(gathered(PLAN, columns))


def test_units_are_claimed_for_the_draw_of_their_flag() -> None:
    books = learned(FLAG)
    assert books.claims([unit(4)]) == [(unit(4), Claim("draft", draw_of(3, "draft"), 4))]
    assert books.claims([unit(5, revision=9), replace_feature(unit(6))]) == []
    assert books.unplaced == 2


def replace_feature(one: Unit) -> Unit:
    return one._replace(feature="ask")


def test_what_is_known_of_a_batch_is_used_for_the_next() -> None:
    books = learned(FLAG)
    first, second = [unit(1, 0.0), unit(2, 1.0)], [unit(3, 1.0)]
    key = key_of("draft", FLAG.progress, PREFIX, 0)
    assert books.summed(first, AGE_S) == {key: expected(first, 1.0), ARMS: [1, 1]}
    assert books.summed(second, AGE_S) == {key: expected(second, 2 / 3), ARMS: [0, 1]}


UNITS = st.lists(
    st.builds(
        Unit,
        st.just(1_010.0),
        st.integers(1, 2**63 - 1),
        st.just("draft"),
        st.just(1),
        st.booleans(),
        st.sampled_from([0.0, 1.0, None]),
    ),
    min_size=1,
    max_size=60,
)


@given(UNITS)
def test_adding_up_by_kind_gives_the_same_bits_as_adding_up_units(batch: list[Unit]) -> None:
    books = learned(FLAG)
    books.summed([unit(1, 0.0), unit(2, 1.0), unit(3, 0.0)], AGE_S)
    assert books.summed(batch, AGE_S)[KEYS[0]] == expected(batch, 0.5)


@given(UNITS, st.randoms(use_true_random=False))
def test_the_order_of_a_batch_makes_no_difference(batch: list[Unit], random) -> None:
    shuffled = batch.copy()
    random.shuffle(shuffled)
    assert learned(FLAG).summed(shuffled, AGE_S) == learned(FLAG).summed(batch, AGE_S)


def test_who_is_left_out_is_scored_at_the_prediction() -> None:
    books = learned(FLAG)
    vector = books.summed([unit(2, None)], AGE_S)[KEYS[0]]
    (found,) = [sums for _, _, sums in stored("draft", FLAG.progress, "errors", PLAN, dict.fromkeys(KEYS, vector))]
    assert (found.moments.units, found.moments.contrast) == (1, 0)
    assert found.moments.overlap > 0
    assert books.summed([unit(3)], AGE_S) == learned(FLAG).summed([unit(3)], AGE_S)


ARMS = units_key("draft", FLAG.progress, 10_000)
KEYS = (key_of("draft", FLAG.progress, PREFIX, 0),)


def test_steps_and_epochs_have_sums_of_their_own() -> None:
    later = replace(FLAG, revision=2, progress=replace(FLAG.progress, step=1, step_began_s=1_500.0))
    books = learned(FLAG, later)
    units = [unit(1), unit(2, revision=2), unit(3, arrived_s=1_010.0 + EPOCH_S)]
    assert set(books.summed(units, AGE_S)) == {
        key_of("draft", FLAG.progress, PREFIX, 0),
        key_of("draft", later.progress, PREFIX, 0),
        key_of("draft", FLAG.progress, PREFIX, 1),
        ARMS,
    }


def test_flags_that_gather_nothing_are_not_learned() -> None:
    at_rest = replace(FLAG, progress=replace(FLAG.progress, phase=Phase.COMPLETED))
    assert learned(at_rest).claims([unit(1)]) == []


def test_margins_beyond_the_bounds_add_nothing_and_break_nothing() -> None:
    many = tuple(replace(GATE, name=f"g{number}", margin=0.01 * number) for number in range(1, 40))
    books = learned(replace(FLAG, gates=many))
    assert len(books.claims([unit(1)])) == 1
    assert books.summed([unit(1)], AGE_S) == {ARMS: [0, 1]}


def test_old_revisions_are_forgotten_and_their_units_counted_as_lost() -> None:
    books = learned(*(replace(FLAG, revision=revision) for revision in range(1, 100)))
    assert books.summed([unit(1, revision=1), unit(2, revision=99)], AGE_S) != {}
    assert books.unplaced == 1


def test_a_snapshot_is_learned_once() -> None:
    snapshot = compile_snapshot({"draft": FLAG}, 1)
    books = Books()
    books.learn(snapshot)
    books.learn(snapshot)
    assert len(books.claims([unit(1)])) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_the_assigned_arm_is_what_counts(number: int) -> None:
    deltas = learned(FLAG).summed([unit(number)], AGE_S)
    assert deltas[KEYS[0]][:2] == [1, int(number == 2)]
    assert deltas[ARMS] == [int(number == 2), int(number == 1)]
