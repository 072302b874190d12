"""What every store must do with claims of units."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.adapters import open_store
from rollout.core.claims import CLAIMS_PER_FLUSH_MAX
from rollout.core.errors import InvalidArgument
from rollout.ports import Claim, Store

DRAWS = count()
LARGEST = 2**63 - 1


def of(*digests: int, draw: str = "d1", feature: str = "draft") -> list[Claim]:
    return [Claim(feature, draw, digest) for digest in digests]


async def test_a_unit_is_new_once(store: Store, store_url: str) -> None:
    assert await store.claim_units(of(1, 2, LARGEST), "w1:1") == (True, True, True)
    assert await store.claim_units(of(2, 3, 1, LARGEST), "w1:2") == (False, True, False, False)
    other = open_store(store_url)
    assert await other.claim_units(of(3, 4), "w2:1") == (False, True)
    await other.close()
    assert await store.version() == 0


async def test_a_unit_that_comes_twice_in_one_flush_is_new_once(store: Store) -> None:
    assert await store.claim_units(of(5, 6, 5), "1") == (True, True, False)


async def test_features_and_draws_have_units_of_their_own(store: Store) -> None:
    mixed = of(1) + of(1, draw="d2") + of(1, feature="ask") + of(1)
    assert await store.claim_units(mixed, "1") == (True, True, True, False)
    assert await store.claim_units(mixed, "2") == (False,) * 4


async def test_a_lost_answer_is_given_again(store: Store) -> None:
    await store.claim_units(of(1), "1")
    first = await store.claim_units(of(1, 2), "2")
    assert first == (False, True)
    for _ in range(3):
        assert await store.claim_units(of(1, 2), "2") == first
    assert await store.claim_units(of(1, 2), "3") == (False, False)
    assert [await store.claim_units([], "4") for _ in range(2)] == [(), ()]


@pytest.mark.parametrize(
    ("claims", "flush"),
    [(of(0), "1"), (of(2**63), "1"), (of(-1), "1"), (of(7), ""), (of(7), "ä"), (of(7), "x" * 300)],
)
async def test_what_cannot_be_claimed_is_refused_whole(store: Store, claims: list[Claim], flush: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.claim_units(of(8) + claims, flush)
    assert await store.claim_units(of(8), "2") == (True,)


async def test_as_many_as_a_flush_may_hold(store: Store) -> None:
    full = of(*(number * 0x9E3779B97F4A7C15 % LARGEST + 1 for number in range(CLAIMS_PER_FLUSH_MAX)))
    new = await store.claim_units(full, "1")
    assert len(new) == CLAIMS_PER_FLUSH_MAX
    assert sum(new) >= CLAIMS_PER_FLUSH_MAX - 1
    assert not any(await store.claim_units(full, "2"))
    with pytest.raises(InvalidArgument, match="too many"):
        await store.claim_units([*full, *of(9)], "3")


async def test_draws_and_answers_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.claims.KEEP_S", 0.05)
    monkeypatch.setattr("rollout.core.claims.REMEMBER_FLUSH_S", 0.05)
    assert await store.claim_units(of(1), "1") == (True,)
    await asyncio.sleep(0.1)
    assert await store.claim_units(of(1), "1") == (True,)


async def test_a_full_filter_gives_way_and_is_asked_until_the_next_turn(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("rollout.core.claims.FULL_UNITS", 3)
    monkeypatch.setattr("rollout.core.claims.TURN_S", 0.0)
    assert await store.claim_units(of(1, 2) + of(1, draw="d2"), "1") == (True, True, True)
    assert await store.claim_units(of(3), "2") == (True,)
    assert await store.claim_units(of(1, 4), "3") == (False, True)  # 1 is from before the turn, and remembered again
    assert await store.claim_units(of(5, 2), "4") == (True, False)
    assert await store.claim_units(of(1, 4, 3), "5") == (False, False, True)  # another turn: 3 was silent since
    assert await store.claim_units(of(1, draw="d2"), "6") == (False,)


async def test_what_was_silent_for_two_turns_is_new_again(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("rollout.core.claims.FULL_UNITS", 1)
    monkeypatch.setattr("rollout.core.claims.TURN_S", 0.0)
    for number in range(1, 4):
        assert await store.claim_units(of(number), f"{number}") == (True,)
    assert await store.claim_units(of(3, 2), "4") == (False, True)


async def test_a_full_filter_stays_for_its_time(store: Store, monkeypatch) -> None:
    monkeypatch.setattr("rollout.core.claims.FULL_UNITS", 1)
    for number in range(1, 4):
        assert await store.claim_units(of(number), f"{number}") == (True,)
    assert await store.claim_units(of(1, 2, 3), "4") == (False, False, False)


_DIGESTS = st.lists(st.integers(1, 12), max_size=6)


@given(st.lists(_DIGESTS, max_size=6), st.randoms())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_whatever_is_repeated_each_unit_is_granted_once(store: Store, flushes: list[list[int]], chance) -> None:
    """Digests this small share a page, never all of their bits."""
    draw = f"d{next(DRAWS)}"
    sent = [*enumerate(flushes), *enumerate(flushes)]
    chance.shuffle(sent)
    granted: dict[int, tuple[bool, ...]] = {}
    for number, digests in sent:
        answer = await store.claim_units(of(*digests, draw=draw), f"{draw}:{number}")
        assert granted.setdefault(number, answer) == answer
    pairs = [pair for number, new in granted.items() for pair in zip(flushes[number], new, strict=True)]
    assert sorted(digest for digest, new in pairs if new) == sorted({digest for digest, _ in pairs})


async def test_of_workers_that_race_one_gets_the_unit(store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(4)]
    asking = [stores[number % 4].claim_units(of(number // 4 + 1, 99), f"{number}") for number in range(40)]
    answers = await asyncio.gather(*asking)
    assert sum(new for new, _ in answers) == 10
    assert sum(new for _, new in answers) == 1
    for each in stores:
        await each.close()
