from hypothesis import given
from hypothesis import strategies as st

from gateway.core.held_units import RATINGS_OF_A_UNIT_MAX, Held, HeldUnits, Ratings
from gateway.core.left_out import Why


def held(digest: int, at_s: float = 700.0) -> Held:
    return Held(at_s, at_s - 600.0, "draft", 1, digest, True)


def test_units_are_handed_out_when_their_time_has_come() -> None:
    units = HeldUnits()
    units.add([held(1, 700.0), held(2, 699.0), held(3, 800.0)])
    assert units.ripe(700.0) == [held(2, 699.0)]
    assert units.ripe(700.99) == []
    assert [unit.digest for unit in units.ripe(900.0)] == [1, 3]
    assert len(units) == 0


def test_too_many_are_thinned_by_digest_alone_and_stay_away() -> None:
    units = HeldUnits(most=3)
    large = 2**62
    units.add([held(large), held(1), held(2), held(large + 1)])
    assert (len(units), units.thinned) == (2, 2)
    units.add([held(large + 2)])
    assert (len(units), units.thinned) == (2, 3)
    assert [unit.digest for unit in units.ripe(900.0)] == [1, 2]


def test_larger_digests_are_held_again_when_there_is_room() -> None:
    units, large = HeldUnits(most=3), 2**62
    units.add([held(large), held(1), held(2), held(3)])
    for second in range(701, 1_400):
        units.ripe(float(second))
    units.add([held(large + 1, 1_300.0), held(large + 2, 2_000.0)])
    assert [unit.digest for unit in units.ripe(2_001.0)] == [large + 2]


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 20)), unique=True), st.integers(1, 5))
def test_a_successor_hands_out_what_was_handed_over(rows, count: int) -> None:
    units, successor = HeldUnits(), HeldUnits()
    units.add(held(digest, float(at_s)) for digest, at_s in rows)
    successor.add([held(100, 5.0)])
    for part in units.give_away(count):
        assert 0 < len(part) <= count
        successor.add(part)
    assert len(units) == 0
    assert units.ripe(99.0) == []
    expected = sorted([held(100, 5.0), *(held(digest, float(at_s)) for digest, at_s in rows)])
    assert successor.ripe(99.0) == expected


def test_the_last_word_on_each_request_and_kind_counts() -> None:
    ratings = Ratings()
    for request, kind, value in (("r", "rating", 0.0), ("r", "rating", 1.0), ("r", "score", 0.25), ("s", "score", 0.5)):
        ratings.add("draft", 7, ("acme", request), kind, value, now_s=100.0)
    ratings.add("ask", 7, ("acme", "r"), "rating", 0.0, now_s=100.0)
    assert ratings.take("draft", 8) == []
    assert ratings.take("draft", 7) == [0.25, 0.5, 1.0]
    assert ratings.take("draft", 7) == []
    assert len(ratings) == 1


def test_beyond_the_bounds_the_units_rated_first_and_more_requests_of_one_are_not_kept() -> None:
    ratings = Ratings(most=2)
    for digest in (1, 2, 3):
        ratings.add("draft", digest, ("acme", "r"), "score", 0.5, now_s=100.0)
    assert [ratings.take("draft", digest) for digest in (1, 2, 3)] == [[], [0.5], [0.5]]
    for number in range(RATINGS_OF_A_UNIT_MAX + 5):
        ratings.add("draft", 1, ("acme", str(number)), "score", 0.5, now_s=100.0)
    ratings.add("draft", 1, ("acme", "0"), "score", 1.0, now_s=100.0)
    assert ratings.take("draft", 1) == [0.5] * (RATINGS_OF_A_UNIT_MAX - 1) + [1.0]
    assert ratings.lost == 1


def test_all_ratings_together_are_bounded_and_whose_are_forgotten_is_counted() -> None:
    ratings = Ratings(ratings_most=4)
    for digest, request in ((1, "a"), (2, "b"), (1, "c"), (3, "d"), (1, "a"), (2, "e")):
        ratings.add("draft", digest, ("acme", request), "score", 0.5, now_s=100.0)
    assert [ratings.take("draft", digest) for digest in (1, 2, 3)] == [[], [0.5, 0.5], [0.5]]
    assert ratings.lost == 1
    for number in range(4):
        ratings.add("draft", 10 + number, ("acme", "r"), "score", 0.5, now_s=100.0)
    assert (len(ratings), ratings.lost) == (4, 1)


def test_what_was_rated_long_ago_is_forgotten_and_no_loss() -> None:
    ratings = Ratings()
    for at_s, digest in ((100.0, 1), (101.0, 2), (102.0, 1)):
        ratings.add("draft", digest, ("acme", str(at_s)), "score", 0.5, now_s=at_s)
    ratings.forget(100.0)
    assert len(ratings) == 2
    ratings.forget(101.0)
    assert ([ratings.take("draft", digest) for digest in (1, 2)], ratings.lost) == ([[], [0.5]], 0)
    ratings.forget(500.0)
    assert len(ratings) == 0


def test_who_is_given_up_is_told() -> None:
    lost: list[tuple[int, Why]] = []
    units = HeldUnits(2, lambda unit, why: lost.append((unit.digest, why)))
    large = 2**62
    units.add([held(large), held(1), held(2), held(large + 1)])
    assert lost == [(large, Why.THINNED), (large + 1, Why.THINNED)]


def test_who_still_waits_at_the_end_is_told() -> None:
    lost: list[tuple[int, Why]] = []
    units = HeldUnits(lose=lambda unit, why: lost.append((unit.digest, why)))
    units.add([held(1), held(2)])
    assert (units.give_up(), len(units)) == (2, 0)
    assert lost == [(1, Why.ENDED), (2, Why.ENDED)]
