import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.lease import (
    Held,
    Verdict,
    acquire,
    checked_ask,
    checked_ttl_ms,
    is_live,
    judge_write,
    may_write,
    release,
    renew,
)

NOW_MS = 1_700_000_000_000
MINE = Held(NOW_MS, "a", NOW_MS, NOW_MS + 100)


def test_nobody_holds_what_was_never_asked_for() -> None:
    assert not is_live(Held(), NOW_MS)
    assert acquire(Held(), "a", 100, NOW_MS) == MINE


@pytest.mark.parametrize(("at_ms", "live"), [(-1, False), (0, True), (99, True), (100, False)])
def test_a_lease_lives_from_its_beginning_to_its_end(at_ms: int, live: bool) -> None:  # noqa: FBT001  a parameter
    assert is_live(MINE, NOW_MS + at_ms) is live
    assert (acquire(MINE, "b", 100, NOW_MS + at_ms) is None) is live
    assert (renew(MINE, MINE.token, 100, NOW_MS + at_ms) is not None) is live


def test_only_its_holder_prolongs_it_or_gives_it_back() -> None:
    assert renew(MINE, MINE.token, 500, NOW_MS + 9) == Held(MINE.token, "a", NOW_MS + 9, NOW_MS + 509)
    assert renew(MINE, MINE.token - 1, 500, NOW_MS) is None
    assert release(MINE, MINE.token - 1) is None
    assert release(MINE, MINE.token) == Held(MINE.token)
    assert release(Held(MINE.token), MINE.token) is None
    assert renew(Held(MINE.token), MINE.token, 500, NOW_MS) is None


def test_its_own_holder_gets_it_anew() -> None:
    again = acquire(MINE, "a", 100, NOW_MS)
    assert again is not None
    assert again.token == MINE.token + 1


def test_a_write_counts_with_the_newest_token_or_without_one() -> None:
    assert may_write(MINE, None)
    assert may_write(MINE, MINE.token)
    assert not may_write(MINE, MINE.token - 1)
    assert not may_write(MINE, MINE.token + 1)
    assert not may_write(Held(), MINE.token)


@pytest.mark.parametrize(
    ("token", "stored", "expected", "verdict"),
    [
        (None, 3, 3, Verdict.DONE),
        (None, 3, 2, Verdict.CONFLICT),
        (MINE.token, 3, 3, Verdict.DONE),
        (MINE.token, 4, 3, Verdict.CONFLICT),
        (MINE.token - 1, 3, 3, Verdict.STALE),
        (MINE.token - 1, 4, 3, Verdict.STALE),
    ],
)
def test_a_write_needs_the_newest_token_and_the_revision_it_was_made_for(
    token: int | None, stored: int, expected: int, verdict: Verdict
) -> None:
    assert judge_write(MINE, token, stored, expected) is verdict


_STEPS = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release"]), st.sampled_from("ab"), st.integers(0, 150))
)


@given(_STEPS, st.integers(-10_000, 10_000))
def test_tokens_grow_whatever_the_clock_does(steps: list[tuple[str, str, int]], jump_ms: int) -> None:
    held, now_ms, tokens, of = Held(), NOW_MS, [0], {"a": 0, "b": 0}
    for number, (what, holder, later_ms) in enumerate(steps):
        now_ms += later_ms if number % 5 else jump_ms
        step = {
            "acquire": acquire(held, holder, 100, now_ms),
            "renew": renew(held, of[holder], 100, now_ms),
            "release": release(held, of[holder]),
        }[what]
        if what == "acquire" and step is not None:
            tokens.append(step.token)
            of[holder] = step.token
        held = step or held
        assert held.token == tokens[-1]
        assert sum(may_write(held, token) for token in of.values() if token) <= 1
    assert tokens == sorted(set(tokens))


def test_a_store_without_its_data_hands_out_no_old_token() -> None:
    lost = acquire(Held(NOW_MS - 5, "a", 0, 0), "a", 100, NOW_MS)
    fresh = acquire(Held(), "b", 100, NOW_MS + 1)
    assert lost is not None
    assert fresh is not None
    assert fresh.token > lost.token


@pytest.mark.parametrize("ask", [("", "a", 1.0), ("n", "", 1.0), ("n" * 201, "a", 1.0), ("n", "a" * 201, 1.0)])
def test_a_lease_has_a_name_and_a_holder(ask: tuple[str, str, float]) -> None:
    with pytest.raises(InvalidArgument):
        checked_ask(*ask)


@pytest.mark.parametrize("ttl_s", [-1.0, 0.0, 0.000_9, 3_601.0, float("nan"), float("inf")])
def test_a_lease_has_an_end(ttl_s: float) -> None:
    with pytest.raises(InvalidArgument):
        checked_ttl_ms(ttl_s)
    assert checked_ask("n", "a", 1.5) == 1_500
