import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence import error_bets, ledger
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.ledger import MetricPlan
from rollout.core.evidence.plans import ErrorCounts
from rollout.core.evidence.score import Units
from rollout.gates_bench.kinds import (
    KINDS,
    LEFT_OUT,
    OUTCOMES,
    Column,
    Growths,
    counted,
    error_growths,
    growths,
    kind_of,
)


def column(seed: int, units: int = 200, predicted: float = 0.9) -> Column:
    random = np.random.default_rng(seed)
    kind = kind_of(random.random(units) < 0.3, random.integers(0, OUTCOMES, units))
    return Column(kind, np.arange(units), 30_000, predicted)


def units_of(own: Column) -> Units:
    outcome = own.kind % OUTCOMES
    scored = np.where(outcome == LEFT_OUT, own.predicted, outcome)
    shares = np.full(len(outcome), own.share_millipct)
    return Units(shares, own.kind >= OUTCOMES, scored, np.full(len(outcome), own.predicted))


@pytest.mark.parametrize("harm", [True, False])
def test_totals_are_the_cores_sums(harm: bool) -> None:  # noqa: FBT001  a parameter
    columns, margins = [column(1), column(2, predicted=0.4)], (0.03, 0.0)
    totals = growths(columns, margins, harm=harm).totals()
    for own, margin, total in zip(columns, margins, totals, strict=True):
        plan = MetricPlan((), (margin,)) if harm else MetricPlan((margin,), ())
        sums = ledger.gathered(plan, units_of(own))
        steps = (sums.harm if harm else sums.noninferiority)[0]
        assert total == pytest.approx([real(each) for each in steps], abs=1e-9)


def test_errors_grow_as_the_bets_say() -> None:
    own = column(3)
    candidate, failed = own.kind >= OUTCOMES, own.kind % OUTCOMES == 0
    by_arm = [int((failed & arm).sum()) for arm in (candidate, ~candidate)]
    found = {own.share_millipct: ErrorCounts(*by_arm, int(candidate.sum()), int((~candidate).sum()))}
    assert error_growths(own, 0.02).totals()[0] == pytest.approx(error_bets.log_growth(found, 0.02))
    none = own._replace(kind=own.kind[:0], positions=own.positions[:0])
    assert (error_growths(none, 0.02).totals() == 0.0).all()


@given(st.lists(st.integers(0, KINDS - 1), max_size=300), st.integers(1, 99))
def test_logs_never_rise_above_the_bound(kinds: list[int], share: int) -> None:
    own = Column(np.array(kinds, np.int64), np.arange(len(kinds)), share * 1_000, 0.7)
    found = growths([own], [0.02], harm=True)
    way = found.of_units(0, own.kind).cumsum(axis=1)
    highest = np.maximum(way.max(axis=1, initial=0.0), 0.0)
    assert (found.rises()[0] >= highest - 1e-12).all()
    if kinds:
        assert found.totals()[0] == pytest.approx(way[:, -1], abs=1e-9)


def test_blocks_hold_all_units_in_their_order() -> None:
    found = counted([np.array([0, 0, 1, 1, 1])], width=2)
    assert found.sum(axis=2).tolist() == [[2.0, 3.0]]
    assert found[0, 0].nonzero()[0].max() < found[0, 1].nonzero()[0].min()


def test_a_series_has_its_own_row() -> None:
    found = Growths(np.arange(2 * len(LAMBDAS) * 3, dtype=float).reshape(2, len(LAMBDAS), 3), np.zeros((2, 3, 1)))
    assert found.of_units(1, np.array([2, 0])).tolist() == found.each[1][:, [2, 0]].tolist()
