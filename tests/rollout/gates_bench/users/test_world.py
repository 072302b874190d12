import numpy as np
import pytest

from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.users.world import GOOD, SCENARIOS, UsersScenario, UsersWorld


def of(traffic: str = "equal", icc: float = 0.0, truth: Truth = Truth.FINE) -> UsersScenario:
    return UsersScenario(traffic=traffic, icc=icc, truth=truth)


def test_every_traffic_meets_every_likeness_and_truth() -> None:
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS) == 27
    assert of("Zipf", 0.3, Truth.HARM).name == "Zipf traffic, ICC 0.3, harm"


def test_one_seed_is_one_world() -> None:
    first, again, other = (UsersWorld(of(icc=0.3), seed).requests(500, 20_000) for seed in (1, 1, 2))
    assert all(np.array_equal(*columns) for columns in zip(first, again, strict=True))
    assert not np.array_equal(first.digest, other.digest)


def test_users_keep_the_candidate_as_the_share_grows() -> None:
    world = UsersWorld(of(), 1)
    few, many = world.requests(20_000, 10_000), world.requests(20_000, 50_000)
    early, late = (set(each.digest[each.candidate].tolist()) for each in (few, many))
    baselines = set(many.digest[~many.candidate].tolist())
    assert not early & baselines
    assert not late & baselines
    assert many.candidate.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("truth", "worse"), [(Truth.FINE, 0.0), (Truth.AT_THE_MARGIN, 0.05), (Truth.HARM, 0.2)])
@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_the_candidate_is_worse_by_so_much(icc: float, truth: Truth, worse: float) -> None:
    found = UsersWorld(of(icc=icc, truth=truth), 3).requests(100_000, 50_000)
    means = [found.good[arm].mean() for arm in (found.candidate, ~found.candidate)]
    assert means == pytest.approx([GOOD - worse, GOOD], abs=0.02)


def test_so_much_of_the_variance_is_the_users() -> None:
    found = UsersWorld(of(icc=0.3), 3).requests(300_000, 50_000)
    _, user, counts = np.unique(found.digest, return_inverse=True, return_counts=True)
    means = np.bincount(user, found.good) / counts
    expected = GOOD * (1 - GOOD) * (0.3 + 0.7 * (1 / counts).mean())
    assert means.var() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("traffic", "least", "most"), [("equal", 0.0, 0.001), ("mildly skewed", 0.007, 0.012), ("Zipf", 0.1, 0.13)]
)
def test_the_busiest_user_has_so_much_of_the_traffic(traffic: str, least: float, most: float) -> None:
    found = UsersWorld(of(traffic), 1).requests(100_000, 50_000)
    _, counts = np.unique(found.digest, return_counts=True)
    assert least <= counts.max() / counts.sum() <= most


def test_some_can_be_taken() -> None:
    found = UsersWorld(of(), 1).requests(10, 50_000)
    some = found.at(np.array([2, 5]))
    assert some.digest.tolist() == [found.digest[2], found.digest[5]]
    assert some.good.tolist() == [found.good[2], found.good[5]]
    assert some.candidate.tolist() == [found.candidate[2], found.candidate[5]]
