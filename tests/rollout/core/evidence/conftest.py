"""Exact references: every path of a short experiment with its probability, and a naive e-process in fractions."""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest

from rollout.core.evidence.score import Units
from rollout.core.sums import Replacement, SumKey

Path = tuple[tuple[int, int], ...]
"""What happened to each unit: (candidate?, outcome)."""
Chance = Callable[[Path], tuple[Fraction, Fraction, Fraction]]
"""From what happened so far: the next share, and the chances of a good outcome of candidate and baseline."""


def paths(
    chance: Chance, length: int, past: Path = (), likely: Fraction = Fraction(1)
) -> Iterator[tuple[Path, Fraction]]:
    if not likely:
        return
    if len(past) == length:
        yield past, likely
        return
    share, good_candidate, good_baseline = chance(past)
    for candidate, drawn, good in ((1, share, good_candidate), (0, 1 - share, good_baseline)):
        yield from paths(chance, length, (*past, (candidate, 1)), likely * drawn * good)
        yield from paths(chance, length, (*past, (candidate, 0)), likely * drawn * (1 - good))


@pytest.fixture(scope="session")
def every_path() -> Callable[[Chance, int], Iterator[tuple[Path, Fraction]]]:
    return paths


def as_units(rows: Sequence[tuple[int, bool, float, float]]) -> Units:
    shares, candidates, outcomes, predictions = zip(*rows, strict=True)
    return Units(
        np.array(shares, np.int64), np.array(candidates, bool), np.array(outcomes, float), np.array(predictions, float)
    )


@pytest.fixture(scope="session")
def units() -> Callable[[Sequence[tuple[int, bool, float, float]]], Units]:
    """A batch from rows of (share in millipct, candidate, outcome, predicted)."""
    return as_units


@pytest.fixture(scope="session")
def wilson() -> Callable[[int, int], tuple[float, float]]:
    """The 99.9 % Wilson interval of a proportion: a right engine fails one Monte-Carlo test in two thousand."""

    def interval(hits: int, runs: int) -> tuple[float, float]:
        z, rate = 3.29, hits / runs
        middle = (rate + z * z / (2 * runs)) / (1 + z * z / runs)
        half = z * math.sqrt(rate * (1 - rate) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
        return middle - half, middle + half

    return interval


def put_instead(sums: dict[SumKey, tuple[int, ...]], asked: Replacement) -> bool:
    """As `Store.replace_sums`."""
    found = {SumKey(asked.feature, asked.epoch, name): tuple(vector) for name, vector in asked.found.items()}
    if any(sums.get(key, ()) != vector for key, vector in found.items()):
        return False
    for key in found:
        sums.pop(key, None)
    sums |= {SumKey(asked.feature, asked.epoch, name): tuple(vector) for name, vector in asked.instead.items()}
    return True


@pytest.fixture(scope="session")
def replace_sums() -> Callable[[dict[SumKey, tuple[int, ...]], Replacement], bool]:
    return put_instead
