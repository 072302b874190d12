"""That the sums are those of a gateway's worker is in tests/test_users_twin.py."""

import numpy as np

from rollout.core.evidence.cluster_parts import parts_of, stored
from rollout.core.evidence.plans import series_of
from rollout.core.evidence.plans import stored as stored_first
from rollout.gates_bench.users.books import UsersBooks
from rollout.gates_bench.users.ramp import flag_at
from rollout.gates_bench.users.world import Requests

FLAG = flag_at(0, 1_000_000.0)
(PART,), (SERIES,) = parts_of(FLAG), series_of(FLAG)


def requests(*rows: tuple[int, bool, bool]) -> Requests:
    digest, candidate, good = zip(*rows, strict=True)
    return Requests(np.array(digest), np.array(candidate), np.array(good))


def test_every_request_counts_in_its_group_and_the_first_of_each_user_alone() -> None:
    books = UsersBooks()
    first = books.summed(FLAG, requests((1, True, True), (1, True, False), (129, False, True)), 1_000_000.0)
    (in_groups,) = stored(PART, SERIES, FLAG.feature, FLAG.progress, first).values()
    assert (in_groups.units, in_groups.candidates[1], in_groups.bad_candidates) == (3, 2, 1)
    ((_, epoch, alone),) = stored_first(FLAG.feature, FLAG.progress, SERIES, first)
    assert (epoch, alone.moments.units, alone.moments.candidates) == (0, 2, 1)
    again = books.summed(FLAG, requests((1, True, True)), 1_000_120.0)
    assert not list(stored_first(FLAG.feature, FLAG.progress, SERIES, again))
    assert stored(PART, SERIES, FLAG.feature, FLAG.progress, again)


def test_a_user_is_predicted_by_all_other_groups() -> None:
    books = UsersBooks()
    books.summed(FLAG, requests((1, False, False), (1, False, False), (2, False, True)), 1_000_000.0)
    means = books._others_mean()
    assert (means[1], means[2], means[3]) == (1.0, 1 / 3, 0.5)
