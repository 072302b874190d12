import pytest

from loadtests.bench.cores import Cores, assign_cores


@pytest.mark.parametrize(
    ("available", "workers", "cores"),
    [
        ([0, 1, 2, 3], 1, Cores((1,), 3, 0)),
        ([0, 1, 2, 3], 2, Cores((1, 2), 3, 0)),
        ([0, 1, 2, 3], 3, Cores((1, 2, 3), 0, 0)),
        ([0, 1, 2, 3], 4, None),
        ([2, 4, 6, 8, 9, 11], 4, Cores((4, 6, 8, 9), 11, 2)),
        ([4, 5, 6], 1, Cores((5,), 6, 4)),
        ([0, 1], 1, Cores((1,), 0, 0)),
        ([7], 1, Cores((7,), 7, 7)),
        ([7], 2, None),
    ],
)
def test_the_subject_has_a_core_per_worker_of_its_own(available: list[int], workers: int, cores: Cores | None) -> None:
    assert assign_cores(available, workers) == cores
