"""Real numbers on a grid of 2**-32, so that every sum is a sum of integers.

Integer addition is associative and commutative: workers, replicas and a replay may add in any order, in batches of any
size, and get the same bits. Stores add such integers themselves (they fit 64 bits up to 2e9 units of size one).
What happens to a number before it is on the grid is made of +, -, *, / and exact steps only, which IEEE 754 rounds in
one way on every machine; the logarithm is therefore our own, for those of libm and of numpy's SIMD loops differ in the
last bit between machines and array lengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]

STEPS_PER_ONE = 2.0**32
_SQRT_HALF = 0.7071067811865476
_LN2 = 0.6931471805599453
_ATANH_TERMS = tuple(2.0 / power for power in (17, 15, 13, 11, 9, 7, 5, 3, 1))
_GUARD_STEPS = 2.0**-10
"""More than any error of `log_growth` before its rounding (1e-15, in steps 5e-6), so that it never rounds up."""


def on_grid(values: Reals) -> Integers:
    """`values` in steps of 2**-32, to the nearest."""
    return np.rint(values * STEPS_PER_ONE).astype(np.int64)


def real(steps: int) -> float:
    """The number that a sum of steps stands for."""
    return steps / STEPS_PER_ONE


def log_growth(x: Reals) -> Integers:
    """ln(1 + x) in steps of 2**-32, rounded down, for -1 < x.

    Never above the true value: what is a supermartingale stays one. At most 1.001 steps (2.4e-10) below it.
    """
    mantissa, exponent = np.frexp(1.0 + x)
    s = (mantissa - _SQRT_HALF) / (mantissa + _SQRT_HALF)  # |s| <= 0.172: nine terms of atanh reach 1e-16
    squared = s * s
    series = np.full_like(s, _ATANH_TERMS[0])
    for term in _ATANH_TERMS[1:]:
        series *= squared
        series += term
    series *= s
    series += (exponent - 0.5) * _LN2
    series *= STEPS_PER_ONE
    series -= _GUARD_STEPS
    return np.floor(series, out=series).astype(np.int64)
