import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import restart
from rollout.core.evidence.eprocess import LAMBDAS, log_sums, log_value
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.restart import epoch_at, log_sum_exp, weight_of, weight_up_to

Path = tuple[tuple[int, int], ...]
GROWTH = st.lists(st.floats(-2, 2), min_size=3, max_size=3)


def weight(epoch: int) -> Fraction:
    return Fraction(weight_up_to(epoch)) - (Fraction(weight_up_to(epoch - 1)) if epoch else 0)


def mixture(x_by_epoch: dict[int, list[float]], begun: int) -> Fraction:
    """The definition: a copy for each epoch, each on what it has seen since, those not begun at one."""
    value = Fraction(0)
    for bet in LAMBDAS:
        for start in range(begun + 1):
            seen = [each for epoch, x in x_by_epoch.items() if epoch >= start for each in x]
            value += weight(start) * math.prod(1 + Fraction(bet) * Fraction(each) for each in seen)
    return value / len(LAMBDAS) + 1 - sum(map(weight, range(begun + 1)))


def growth(x_by_epoch: dict[int, list[float]]) -> dict[int, list[float]]:
    return {epoch: [real(steps) for steps in log_sums(np.array(x))] for epoch, x in x_by_epoch.items()}


def test_the_weights_are_above_zero_and_never_add_up_to_more_than_one() -> None:
    assert weight_up_to(0) == weight_of(0) == 0.5
    for epoch in (*range(1, 50), 1_000, 1_000_000):  # four years of epochs
        assert weight_of(epoch) == float(weight(epoch)) > 0.0
        assert weight_up_to(epoch) < 1.0


def test_a_copy_of_a_late_epoch_has_hardly_less_than_its_number_asks_for() -> None:
    # Nothing that adds up can have 1/j for all j; after a day of epochs it is within a factor of 120 of it.
    for epoch in (30, 720, 20_000):
        assert weight_of(epoch) * 2 * epoch * (1 + math.log(epoch)) ** 2 == pytest.approx(1.0, rel=0.03)
    assert weight_of(720) > 12 / (2 * 720 * 721)


@pytest.mark.parametrize(
    "x_by_epoch",
    [
        {0: [0.5]},
        {0: [0.5, -0.25], 1: [1.0], 2: [-1.0, 0.75]},
        {3: [0.9, 0.9], 7: [0.9]},
        {0: [-1.0, -1.0], 4: [1.0, 1.0, 1.0]},
    ],
)
@pytest.mark.parametrize("idle", [0, 3])
def test_the_value_is_that_of_the_definition_in_fractions(x_by_epoch: dict[int, list[float]], idle: int) -> None:
    # Epochs that have begun and saw nothing change nothing.
    exact = mixture(x_by_epoch, max(x_by_epoch) + idle)
    assert math.isclose(restart.log_value(growth(x_by_epoch)), math.log(exact), abs_tol=1e-8)


def test_no_wealth_is_expected_under_the_null_whenever_one_stops(
    every_path: Callable[..., Iterator[tuple[Path, Fraction]]],
) -> None:
    # Fair coins of size one, a new epoch with every unit but the third, stopped at the first good look.
    half = Fraction(1, 2)
    expected = 0.0
    for path, likely in every_path(lambda _: (half, Fraction(1), Fraction(1)), 7):
        epochs = [0, 1, 1, 2, 5, 6, 7]
        looks = []
        for seen in range(1, 8):
            x_by_epoch: dict[int, list[float]] = {}
            for epoch, (won, _) in zip(epochs[:seen], path, strict=False):
                x_by_epoch.setdefault(epoch, []).append(2.0 * won - 1.0)
            looks.append(math.exp(restart.log_value(growth(x_by_epoch))))
        expected += float(likely) * next((value for value in looks if value > 1.1), looks[-1])
    assert 1.0 - 1e-8 < expected <= 1.0


@given(st.dictionaries(st.integers(0, 50), GROWTH, max_size=8))
def test_the_order_in_which_epochs_arrive_is_no_matter(growth_by_epoch: dict[int, list[float]]) -> None:
    backwards = dict(reversed(growth_by_epoch.items()))
    assert restart.log_value(backwards) == restart.log_value(growth_by_epoch)


@given(st.dictionaries(st.integers(0, 50), GROWTH, max_size=8), st.integers(0, 50))
def test_epochs_that_are_over_can_be_carried_as_one_value(growth_by_epoch: dict[int, list[float]], until: int) -> None:
    over = {epoch: growth for epoch, growth in growth_by_epoch.items() if epoch <= until}
    rest = {epoch: growth for epoch, growth in growth_by_epoch.items() if epoch > until}
    carried = restart.carry(over)
    stored = msgspec.json.decode(msgspec.json.encode(carried), type=restart.Carried | None)
    assert restart.log_value(rest, stored) == restart.log_value(growth_by_epoch)


def test_a_unit_that_comes_after_its_epoch_was_carried_is_refused() -> None:
    carried = restart.carry({0: [0.1], 3: [0.2]})
    with pytest.raises(InvalidArgument, match="epoch 3 has been carried"):
        restart.log_value({3: [0.1]}, carried)


def test_nothing_seen_is_a_value_of_one() -> None:
    assert restart.log_value({}) == 0.0


def test_late_harm_is_found_sooner_than_by_the_plain_process() -> None:
    healthy = {epoch: [-0.06, 0.04] * 100 for epoch in range(20)}
    late = {20: [0.8, -0.3] * 60}
    limit = math.log(20)
    assert restart.log_value(growth(healthy | late)) > limit
    assert log_value(log_sums(np.array([each for x in (healthy | late).values() for each in x]))) < limit


@pytest.mark.parametrize(("entered_s", "epoch"), [(100.0, 0), (699.9, 0), (700.0, 1), (50.0, 0), (6_100.0, 10)])
def test_epochs_follow_the_clock_alone(entered_s: float, epoch: int) -> None:
    assert epoch_at(entered_s, 100.0, 600.0) == epoch


@pytest.mark.parametrize("size", [-1e6, 0.0, 1e6])
def test_a_sum_of_exponentials_neither_overflows_nor_vanishes(size: float) -> None:
    assert math.isclose(log_sum_exp([size, size + math.log(3)]), size + math.log(4))
