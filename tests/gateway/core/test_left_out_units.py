from collections import Counter

import pytest
from msgspec.structs import replace

from gateway.core.checks.sampling import CheckSample
from gateway.core.held_units import Held
from gateway.core.judged_unit import Judged
from gateway.core.left_out import Why
from gateway.core.left_out_units import LeftOutUnits
from gateway.core.unit_places import Places
from gateway.core.units import End, Unit
from rollout.core.evidence.coverage import left
from rollout.core.model import BUCKETS
from tests.gateway.core.test_unit_places import FLAG, GATE, learned

METRICS = ("errors", "form", "thumbs")
ASKED = replace(FLAG, gates=tuple(replace(GATE, name=each, metric=each) for each in METRICS))
UNIT = Unit(1_010.0, 7, "draft", 1, True, 30.0, "r7", 1.0, End.ANSWERED, 1.0)
HELD = Held(4_610.0, 1_010.0, "draft", 1, 7, False)


class Told(LeftOutUnits):
    def __init__(self, places: Places, millipct: int = 0) -> None:
        super().__init__(places, CheckSample(millipct))
        self.counts: Counter = Counter()
        self.told = lambda labels, amount: self.counts.update({labels[1:]: amount})

    def said(self) -> dict[tuple[str, ...], int]:
        self.hand_over()
        return dict(self.counts)


@pytest.mark.parametrize(("millipct", "metrics"), [(0, ("errors", "thumbs")), (BUCKETS, METRICS)])
def test_who_is_given_up_unseen_is_missing_from_all_that_might_have_been(millipct: int, metrics) -> None:
    units = Told(learned(ASKED), millipct)
    units.lose(UNIT, Why.ENDED)
    assert units.said() == {(metric, "candidate", "ended"): 1 for metric in metrics}


def test_of_a_revision_that_is_forgotten_the_newest_one_is_told() -> None:
    units = Told(learned(ASKED))
    units.lose(UNIT._replace(revision=9), Why.UNPLACED)
    units.lose_held(HELD._replace(revision=9), Why.UNPLACED)
    assert units.said() == {
        ("errors", "candidate", "unplaced"): 1,
        ("thumbs", "candidate", "unplaced"): 1,
        ("thumbs", "baseline", "unplaced"): 1,
    }


def test_where_nobody_asks_nobody_is_missing() -> None:
    units = Told(learned(ASKED))
    units.lose(UNIT._replace(feature="ask"), Why.UNPLACED)
    units.lose_held(HELD._replace(feature="ask"), Why.UNPLACED)
    assert units.said() == {}


def test_judged_units_are_missing_where_they_had_an_outcome() -> None:
    places = learned(ASKED)
    place = places.current[0]
    assert [each.metric for each in place.series] == list(METRICS)
    units = Told(places)
    units.lose_judged([Judged(place, 1_010.0, 7, False, None, (None, -1.0, -1.0))], Why.STORE)
    assert units.said() == {("errors", "baseline", "store"): 1, ("thumbs", "baseline", "store"): 1}


def test_counted_units_say_themselves_what_is_not_known() -> None:
    places = learned(ASKED)
    place = places.current[0]
    units = Told(places)
    judged = [Judged(place, 1_010.0, number, True, None, (None, None, -1.0)) for number in range(3)]
    rows = dict(units.rows([*judged, judged[0]._replace(outcomes=(1.0, 0.0, -1.0))]))
    assert rows == {place.covered[each.prefix]: left(3, candidate=True) for each in place.series[:2]}
    assert units.said() == {("errors", "candidate", "unknown"): 3, ("form", "candidate", "unknown"): 3}
