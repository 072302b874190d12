import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core import cluster_sums as module
from gateway.core.cluster_requests import ClusterPlace
from gateway.core.cluster_sums import ClusterBooks, Entry, OthersMean, entry_of, fitting, group_of
from rollout.core.evidence import clusters
from rollout.core.evidence.cluster_parts import parts_of, stored
from rollout.core.evidence.clusters import GROUPS
from rollout.core.evidence.fixed_point import real
from rollout.core.sums import VALUES_PER_FLUSH_MAX, SumKey, check_flush
from tests.gateway.core.test_cluster_requests import FLAG, GATE

WIDE = replace(FLAG, gates=(GATE, *(replace(GATE, name=f"l{n}", metric="ttft_p95", margin=n / 10) for n in (1, 2))))
PLACE = ClusterPlace(WIDE, parts_of(WIDE))
(PART,) = PLACE.parts
ERRORS, NARROW, _ = PART.series


def entry(digest: int, outcomes: tuple[float | None, ...] = (1.0, 1.0, 1.0), at_s: float = 1_010.0) -> Entry:
    return entry_of(PLACE, PART, at_s, digest, candidate=digest % 2 == 0, outcomes=outcomes)


def added(*batches: dict[SumKey, list[int]]) -> dict[SumKey, list[int]]:
    total: dict[SumKey, list[int]] = {}
    for batch in batches:
        check_flush(batch, "flush")
        for key, vector in batch.items():
            total[key] = [one + other for one, other in zip(total.get(key, [0] * len(vector)), vector, strict=True)]
    return total


def read(sums: dict[SumKey, list[int]], index: int = 0) -> clusters.ClusterSums:
    return clusters.total(stored(PART, PART.series[index], "draft", WIDE.progress, sums).values())


def test_a_user_is_in_one_group_wherever_they_come() -> None:
    assert group_of(GROUPS + 7) == group_of(7) == 7
    assert entry(7).cell.window == 0
    assert entry(7, at_s=1_000.0 + 3_600.0 * 9).cell.window > 0


def test_all_requests_of_a_user_count_and_stay_together() -> None:
    found = read(ClusterBooks().summed([entry(8), entry(8), entry(8, (0.0, 1.0, 1.0)), entry(9)]))
    assert (found.units, found.candidates[8], found.candidates[9], found.bad_candidates) == (4, 3, 0, 1)
    assert real(found.overlap[8]) == pytest.approx(3 * 0.09)
    assert real(found.contrast[8]) == pytest.approx(-0.9)  # predicted to be good


def test_the_absent_are_in_no_sum_and_the_left_out_add_no_contrast() -> None:
    found = ClusterBooks().summed([entry(8, (1.0, -1.0, -1.0)), entry(10, (None, None, None))])
    errors, latency = read(found), read(found, 1)
    assert (errors.units, latency.units) == (2, 1)
    assert (errors.overlap[8] > 0, latency.overlap[8]) == (True, 0)
    assert (latency.overlap[10] > 0, latency.contrast[10], latency.candidates[10]) == (True, 0, 0)


def test_a_user_is_predicted_by_all_others() -> None:
    books = ClusterBooks()
    books.summed([entry(8, (0.0, 1.0, 1.0)) for _ in range(9)])
    found = read(books.summed([entry(8, (0.0, 1.0, 1.0)), entry(10, (0.0, 1.0, 1.0))]))
    assert real(found.contrast[8]) == pytest.approx(-0.9)  # nobody else was seen yet
    assert real(found.contrast[10]) == pytest.approx(-0.09)  # nine of ten failed: the tenth is the prior


def test_means_are_those_of_the_other_groups() -> None:
    mean = OthersMean(0.5)
    assert mean.by_group().tolist() == [0.5] * GROUPS
    mean.add([1, 1, 2], [1.0, 1.0, 0.0])
    assert mean.by_group()[[1, 2, 3]].tolist() == [0.25, pytest.approx(2.5 / 3), 2.5 / 4]


@pytest.mark.parametrize(("metric", "usual"), [("thumbs", 0.5), ("form", 1.0), ("itl_p99", 0.99)])
def test_before_anything_was_seen_it_is_what_is_usual(metric: str, usual: float) -> None:
    flag = replace(FLAG, gates=(replace(GATE, metric=metric),))
    place = ClusterPlace(flag, parts_of(flag))
    (part,) = place.parts
    sums = ClusterBooks().summed([entry_of(place, part, 1_010.0, 8, candidate=True, outcomes=(1.0,))])
    (found,) = stored(part, part.series[0], "draft", flag.progress, sums).values()
    assert real(found.contrast[8]) == pytest.approx(0.9 * (1 - usual), abs=1e-9)


OUTCOMES = st.sampled_from([(1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (None, 1.0, None), (1.0, -1.0, -1.0)])
ENTRIES = st.lists(st.builds(entry, st.integers(1, 2**63 - 1), OUTCOMES, st.sampled_from([1_010.0, 9e4])), max_size=30)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_the_order_of_a_batch_makes_no_difference(batch: list[Entry], random) -> None:
    shuffled = batch.copy()
    random.shuffle(shuffled)
    assert ClusterBooks().summed(shuffled) == ClusterBooks().summed(batch)


@given(ENTRIES, ENTRIES)
def test_what_two_workers_add_is_the_sum_of_both(here: list[Entry], there: list[Entry]) -> None:
    total = added(ClusterBooks().summed(here), ClusterBooks().summed(there))
    for index in range(3):
        apart = [read(ClusterBooks().summed(batch), index) for batch in (here, there)]
        assert read(total, index) == clusters.add(*apart)


def test_replay_gives_the_same_bits() -> None:
    random = np.random.default_rng(1)
    log = [entry(int(n), (float(n % 3 > 0), 1.0, 1.0)) for n in random.integers(1, 2**62, 500)]

    def summed() -> dict[SumKey, list[int]]:
        books = ClusterBooks()
        return added(*(books.summed(log[start : start + 50]) for start in range(0, 500, 50)))

    assert summed() == summed()


def test_revisions_of_one_step_add_up() -> None:
    other = ClusterPlace(replace(WIDE, revision=2), PLACE.parts)
    found = read(ClusterBooks().summed([entry(8), entry(8)._replace(place=other)]))
    assert found.units == 2


def test_a_flush_holds_what_a_store_takes() -> None:
    spread = [
        entry(number, at_s=1_000.0 + 3_600.0 * window**2) for window in range(60) for number in range(1, 1 + GROUPS)
    ]
    number = fitting(spread)
    assert 0 < number < len(spread)
    assert sum(map(len, ClusterBooks().summed(spread[:number]).values())) <= VALUES_PER_FLUSH_MAX
    assert fitting(spread[:5]) == 5


def test_means_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "_MEANS_KEPT", 2)
    books = ClusterBooks()
    for number in range(5):
        flag = replace(WIDE, feature=f"f{number}")
        books.summed([entry(8)._replace(place=ClusterPlace(flag, PLACE.parts))])
    assert len(books._means) == 2


def test_who_was_rated_is_counted_beside_the_sums() -> None:
    flag = replace(FLAG, gates=(replace(GATE, metric="thumbs"),))
    place = ClusterPlace(flag, parts_of(flag))
    (part,) = place.parts
    rated = [(True, 1.0), (True, 0.5), (True, None), (False, 0.0), (False, -1.0)]
    entries = [entry_of(place, part, 1_010.0, 8, candidate=arm, outcomes=(value,)) for arm, value in rated]
    assert ClusterBooks().summed(entries)[place.covered[part.series[0].prefix]] == [0, 0, 0, 0, 1, 1]
