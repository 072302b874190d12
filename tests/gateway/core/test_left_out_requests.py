from collections import Counter

from gateway.core.checks.sampling import CheckSample
from gateway.core.cluster_sums import Entry, entry_of
from gateway.core.left_out import Why
from gateway.core.left_out_requests import LeftOutRequests
from rollout.core.evidence.coverage import left
from tests.gateway.core.test_cluster_requests import FLAG, learned, request

PLACES = learned(FLAG)
PLACE = PLACES.latest("draft")
assert PLACE is not None
FIRST, LATER = PLACE.parts


class Told(LeftOutRequests):
    def __init__(self) -> None:
        super().__init__(PLACES, CheckSample())
        self.counts: Counter = Counter()
        self.told = lambda labels, amount: self.counts.update({labels[1:]: amount})

    def said(self) -> dict[tuple[str, ...], int]:
        self.hand_over()
        return dict(self.counts)


def entry(outcome: float | None, *, candidate: bool = True) -> Entry:
    return entry_of(PLACE, FIRST, 1_010.0, 7, candidate=candidate, outcomes=(outcome,))


def test_who_is_given_up_unseen_is_missing_at_that_age_or_at_all() -> None:
    requests = Told()
    requests.lose(request(1, assigned="candidate"), Why.ENDED, LATER.age_s)
    requests.lose(request(2, assigned="baseline", revision=9), Why.UNPLACED)
    requests.lose(request(3, feature="ask"), Why.UNPLACED)
    assert requests.said() == {
        ("thumbs", "candidate", "ended"): 1,
        ("errors", "baseline", "unplaced"): 1,
        ("thumbs", "baseline", "unplaced"): 1,
    }


def test_entries_are_missing_where_they_had_an_outcome() -> None:
    requests = Told()
    requests.lose_entries([entry(None), entry(1.0, candidate=False), entry(-1.0)], Why.STORE)
    assert requests.said() == {("errors", "candidate", "store"): 1, ("errors", "baseline", "store"): 1}


def test_counted_requests_say_themselves_what_is_not_known() -> None:
    requests = Told()
    rows = dict(requests.rows([entry(None), entry(None), entry(0.0)]))
    assert rows == {PLACE.covered[FIRST.series[0].prefix]: left(2, candidate=True)}
    assert requests.said() == {("errors", "candidate", "unknown"): 2}


def test_requests_are_counted_apart_from_units() -> None:
    assert all(key.name.startswith("covered.requests.") for key in PLACE.covered.values())
    assert PLACE.covered.keys() == {each.prefix for part in PLACE.parts for each in part.series}
