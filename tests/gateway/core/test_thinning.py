from hypothesis import given
from hypothesis import strategies as st

from gateway.core.thinning import CHANGES_MAX, QUIET_S, Thinning

WHOLE = 1_000
CHANGES = st.lists(
    st.tuples(st.sampled_from(["halve", "halve_later", "quiet", "busy"]), st.floats(0, 300)), max_size=40
)


def rested(thinning: Thinning, from_s: float, quiet_s: float = QUIET_S) -> float:
    """Let so long pass in quiet; what time it is then."""
    thinning.rest(from_s, quiet=True)
    thinning.rest(from_s + quiet_s, quiet=True)
    return from_s + quiet_s


def test_it_is_halved_and_doubles_after_quiet_minutes() -> None:
    thinning = Thinning(WHOLE)
    for _ in range(3):
        thinning.halve()
    now_s, seen = 1_000.0, []
    for _ in range(5):
        seen.append(thinning.limit)
        now_s = rested(thinning, now_s)
    assert seen == [125, 250, 500, 1_000, 1_000]


def test_who_came_before_it_grew_is_held_against_what_was_then() -> None:
    thinning = Thinning(WHOLE)
    thinning.halve()
    now_s = rested(thinning, 100.5)
    assert [thinning.at(each) for each in (0.0, now_s, now_s + 0.49, now_s + 0.5, now_s + 9.0)] == [
        *(500, 500, 500),
        *(1_000, 1_000),
    ]
    thinning.halve()
    thinning.halve()
    assert [thinning.at(each) for each in (0.0, now_s + 9.0)] == [250, 250]


def test_it_is_halved_again_only_by_who_came_since() -> None:
    thinning = Thinning(5)
    for arrived_s in (99.0, 100.2, 100.9):
        thinning.halve_later(100.5, arrived_s)
    assert [thinning.at(each) for each in (100.9, 101.0)] == [5, 3]
    thinning.halve_later(130.0, 100.9)
    assert thinning.limit == 3
    for second in range(110, 120):
        thinning.halve_later(second, second)
    assert thinning.limit == 1


def test_a_busy_moment_begins_the_quiet_time_anew() -> None:
    thinning = Thinning(WHOLE)
    thinning.halve()
    thinning.rest(0.0, quiet=True)
    thinning.rest(QUIET_S - 1.0, quiet=False)
    thinning.rest(QUIET_S, quiet=True)
    assert thinning.limit == 500
    thinning.halve_later(QUIET_S, 0.0)
    rested(thinning, QUIET_S + 1.0, QUIET_S - 1.0)
    assert thinning.limit == 250
    thinning.rest(2 * QUIET_S + 1.0, quiet=True)
    assert thinning.limit == 500


def test_nothing_grows_again_too() -> None:
    thinning = Thinning(1)
    thinning.halve()
    assert thinning.limit == 0
    rested(thinning, 0.0)
    assert thinning.limit == 1


def test_a_clock_that_was_set_back_stops_neither() -> None:
    thinning = Thinning(WHOLE)
    thinning.halve_later(10_000.0, 9_000.0)
    thinning.rest(10_000.0, quiet=True)
    thinning.rest(100.0, quiet=True)
    assert thinning.at(0.0) == 500
    rested(thinning, 101.0, QUIET_S - 1.0)
    assert thinning.limit == WHOLE
    thinning.halve_later(300.0, 299.0)
    assert thinning.limit == 500


def test_what_was_long_ago_is_forgotten() -> None:
    thinning, now_s = Thinning(2), 0.0
    for _ in range(2 * CHANGES_MAX):
        thinning.halve_later(now_s, now_s)
        now_s = rested(thinning, now_s + 1.0) + 1.0
    assert len(thinning._since) == CHANGES_MAX
    assert thinning.at(-1.0) in {1, 2}


@given(CHANGES, st.lists(st.floats(0, 10_000), max_size=10))
def test_only_who_came_in_time_to_be_asked_before_is_ever_put_out(changes, arrivals) -> None:
    """Of those that came, none that was out is let in; without `halve` nobody who was in is put out either."""
    thinning, now_s = Thinning(WHOLE), 0.0
    for kind, wait_s in changes:
        now_s += wait_s
        came = [each for each in arrivals if each <= now_s]
        before = [thinning.at(each) for each in came]
        if kind == "halve":
            thinning.halve()
        elif kind == "halve_later":
            thinning.halve_later(now_s, now_s)
        else:
            thinning.rest(now_s, quiet=kind == "quiet")
        after = [thinning.at(each) for each in came]
        if kind == "halve":
            assert all(late <= early for early, late in zip(before, after, strict=True))
        else:
            assert after == before
