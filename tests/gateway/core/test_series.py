from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.series import Exemplar, Ledger, Reading, Series, merge_readings

KEY = ("requests", ("draft",))


def total(ledger: Ledger) -> dict[tuple[str, tuple[str, ...]], tuple[float, ...]]:
    return {(each.family, each.labels): each.values for each in ledger.totals()}


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["count", "die"]), st.integers(0, 9)), max_size=40))
def test_what_was_counted_stays_whoever_dies(events: list[tuple[int, str, int]]) -> None:
    """Each worker's number is used again after its death, with counts that begin at zero."""
    ledger, counted, expected = Ledger(), Counter[int](), 0
    for worker, event, amount in events:
        if event == "die":
            ledger.bury(worker)
            counted[worker] = 0
        else:
            counted[worker] += amount
            expected += amount
            ledger.take(worker, [Series(*KEY, (float(counted[worker]), 1.0))])
    assert total(ledger).get(KEY, (0.0,))[0] == expected


def test_series_add_up_element_by_element() -> None:
    ledger = Ledger()
    ledger.take(1, [Series("h", ("a",), (1.0, 2.0)), Series("h", ("b",), (5.0, 5.0))])
    ledger.take(2, [Series("h", ("a",), (10.0, 20.0))])
    ledger.bury(1)
    ledger.bury(1)
    assert total(ledger) == {("h", ("a",)): (11.0, 22.0), ("h", ("b",)): (5.0, 5.0)}


def test_one_family_is_told_worker_by_worker_and_adds_up_to_the_same() -> None:
    ledger = Ledger()
    for worker, count in ((1, 3.0), (2, 4.0), (3, 5.0)):
        ledger.take(worker, [Series(*KEY, (count,)), Series("other", KEY[1], (9.0,)), Series("h", (), (1.0, 2.0))])
    ledger.bury(1)
    ledger.bury(2)
    assert list(ledger.parts_of("requests")) == [(KEY[1], (7.0,)), (KEY[1], (5.0,))]
    assert total(ledger)[KEY] == (12.0,)
    assert list(ledger.parts_of("none")) == []


def test_the_newest_values_of_a_worker_replace_its_older_ones() -> None:
    ledger = Ledger()
    ledger.take(1, [Series(*KEY, (1.0,))])
    ledger.take(1, [Series(*KEY, (3.0,))])
    assert total(ledger) == {KEY: (3.0,)}


@pytest.mark.parametrize(("merge", "merged"), [("sum", 6.0), ("max", 3.0), ("min", 1.0)])
def test_gauges_of_several_workers(merge: str, merged: float) -> None:
    readings = [[Reading("g", "text", ("a",), ((("x",), value),), merge)] for value in (2.0, 1.0, 3.0)]
    assert merge_readings(readings) == [Reading("g", "text", ("a",), ((("x",), merged),), merge)]


def test_a_label_that_only_one_worker_has_is_kept() -> None:
    one = Reading("g", "text", ("a",), ((("x",), 1.0),))
    two = Reading("g", "text", ("a",), ((("x",), 1.0), (("y",), 5.0)))
    other = Reading("other", "text", (), (((), 7.0),))
    merged = merge_readings([[one], [two, other]])
    assert [each.series for each in merged] == [((("x",), 2.0), (("y",), 5.0)), (((), 7.0),)]


def test_nobody_read_anything() -> None:
    assert merge_readings([[], []]) == []
    assert list(Ledger().totals()) == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 99)), max_size=30))
def test_the_newest_exemplar_of_each_bucket_is_kept_whoever_dies(marks: list[tuple[int, int, int]]) -> None:
    ledger, newest = Ledger(), dict[int, int]()
    for worker, bucket, at_s in marks:
        ledger.take(worker, [Series("h", (), (1.0,), (Exemplar(bucket, "t", 0.5, float(at_s)),))])
        newest[bucket] = max(at_s, newest.get(bucket, 0))
        ledger.bury(worker)
    ledger.take(9, [Series("h", (), (1.0,))])
    (series,) = ledger.totals()
    assert {each.bucket: each.at_s for each in series.exemplars} == newest
