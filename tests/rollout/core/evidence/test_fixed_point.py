from decimal import Decimal, getcontext

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rollout.core.evidence.fixed_point import log_growth, on_grid, real

getcontext().prec = 40
GROWTHS = st.floats(-0.8, 0.8)
STEPS = Decimal(2) ** 32


@given(GROWTHS)
def test_a_logarithm_is_rounded_down_by_at_most_a_step_and_a_bit(x: float) -> None:
    exact = (1 + Decimal(x)).ln() * STEPS
    assert Decimal("-0.0001") < exact - int(log_growth(np.array([x]))[0]) < Decimal("1.002")
    assert int(log_growth(np.array([x]))[0]) <= exact


@given(arrays.arrays(np.float64, st.integers(1, 70), elements=GROWTHS), st.integers(1, 7))
def test_a_logarithm_does_not_depend_on_its_neighbours(x: np.ndarray, stride: int) -> None:
    one_by_one = [int(log_growth(np.array([each]))[0]) for each in x]
    assert log_growth(x).tolist() == one_by_one
    assert log_growth(np.repeat(x, stride)[::stride]).tolist() == one_by_one
    assert log_growth(np.stack([x, x]))[1].tolist() == one_by_one


def test_known_logarithms() -> None:
    # Literals and not computed: another machine or another numpy has to find the same integers.
    assert log_growth(np.array([0.8, -0.8, 0.004, -0.004, 0.0])).tolist() == KNOWN


KNOWN = [2524524502, -6912483199, 17145600, -17214321, -1]


@given(st.floats(-1, 1))
def test_a_number_goes_to_the_nearest_step(x: float) -> None:
    assert abs(real(int(on_grid(np.array([x]))[0])) - x) <= 2.0**-33


def test_sums_are_those_of_integers() -> None:
    tenth = on_grid(np.array([0.1] * 1000))
    assert int(tenth.sum()) == 1000 * int(tenth[0]) == sum(tenth[::-1].tolist())
