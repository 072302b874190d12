"""What every store must do with sums of evidence."""

import asyncio
import random
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.adapters import open_store
from rollout.core.errors import InvalidArgument
from rollout.core.sums import ELEMENTS_MAX, VALUES_PER_FLUSH_MAX, Replacement, merge
from rollout.ports import Store, SumKey

KEY = SumKey("summarize", 3, "ttft_s|0.02|candidate")
FEATURES = count()
BIG = 2**61


async def test_vectors_are_added_element_by_element(store: Store, store_url: str) -> None:
    assert await store.read_sums("summarize") == {}
    assert await store.add_sums({KEY: [1, -2, 0]}, "w1:1")
    assert await store.add_sums({KEY: (10, 20), KEY._replace(epoch=4): [7]}, "w1:2")
    assert await store.add_sums({KEY._replace(feature="draft"): [5]}, "w1:3")
    assert await store.add_sums({}, "w1:4")
    other = open_store(store_url)
    assert await other.read_sums("summarize") == {KEY: (11, 18, 0), KEY._replace(epoch=4): (7,)}
    await other.close()
    assert await store.version() == 0


async def test_a_flush_sent_twice_counts_once(store: Store) -> None:
    for first in (True, False, False):
        assert await store.add_sums({KEY: [5, 5]}, "w1:1") is first
    assert await store.add_sums({KEY: [5, 5]}, "w2:1")
    assert await store.read_sums("summarize") == {KEY: (10, 10)}


async def test_64_bits_are_exact(store: Store) -> None:
    odd = 2**53 + 1
    await store.add_sums({KEY: [odd, -odd, BIG - 1]}, "1")
    await store.add_sums({KEY: [2, -2, BIG - 5]}, "2")
    assert await store.read_sums("summarize") == {KEY: (odd + 2, -odd - 2, 2 * BIG - 6)}


async def test_a_flush_that_would_leave_the_range_is_refused_whole(store: Store) -> None:
    other = KEY._replace(name="other")
    await store.add_sums({KEY: [BIG]}, "1")
    with pytest.raises(InvalidArgument, match="range"):
        await store.add_sums({other: [1], KEY: [BIG + 2**20]}, "2")
    with pytest.raises(InvalidArgument, match="range"):
        await store.add_sums({other: [-(2**63)]}, "2")
    assert await store.read_sums("summarize") == {KEY: (BIG,)}
    assert await store.add_sums({other: [1]}, "2")


@pytest.mark.parametrize(
    ("key", "vector", "flush"),
    [
        (KEY, [], "1"),
        (KEY, [0] * (ELEMENTS_MAX + 1), "1"),
        (KEY._replace(epoch=-1), [1], "1"),
        (KEY._replace(name=""), [1], "1"),
        (KEY._replace(name="ä"), [1], "1"),
        (KEY, [1], ""),
        (KEY, [1], "x" * 300),
    ],
)
async def test_what_cannot_be_summed_is_refused(store: Store, key: SumKey, vector: list[int], flush: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.add_sums({key: vector}, flush)
    assert await store.read_sums("summarize") == {}


async def test_a_flush_of_too_many_values_is_refused(store: Store) -> None:
    deltas = {KEY._replace(name=f"n{number}"): [1] * 64 for number in range(400)}
    with pytest.raises(InvalidArgument, match="too many values"):
        await store.add_sums(deltas, "1")


async def test_sums_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.sums.VALUES_PER_EPOCH_MAX", 10)
    monkeypatch.setattr("rollout.core.sums.EPOCHS_MAX", 3)
    await store.add_sums({KEY: [1] * 8}, "1")
    with pytest.raises(InvalidArgument, match="too many sums"):
        await store.add_sums({KEY._replace(name="other"): [1] * 3}, "2")
    await store.add_sums({KEY: [1] * 10}, "2")
    for epoch in (4, 5):
        await store.add_sums({KEY._replace(epoch=epoch): [1]}, f"e{epoch}")
    with pytest.raises(InvalidArgument, match="too many sums"):
        await store.add_sums({KEY._replace(epoch=6): [1]}, "e6")
    assert {key.epoch for key in await store.read_sums("summarize")} == {3, 4, 5}


def others(**vectors: list[int]) -> dict[SumKey, tuple[int, ...]]:
    return {KEY._replace(name=name): tuple(vector) for name, vector in vectors.items()}


async def test_vectors_take_the_place_of_those_that_were_found(store: Store) -> None:
    await store.add_sums(
        {**others(old=[1, 2], kept=[9], more=[3]), KEY._replace(feature="draft", name="old"): [5]}, "1"
    )
    found = {"old": (1, 2), "more": (3,), "new": ()}
    asked = Replacement("summarize", KEY.epoch, found, {"new": [BIG, -7], "more": [4, 5]})
    assert await store.replace_sums(asked)
    assert await store.read_sums("summarize") == others(kept=[9], new=[BIG, -7], more=[4, 5])
    assert await store.read_sums("draft") == {KEY._replace(feature="draft", name="old"): (5,)}
    assert not await store.replace_sums(asked)  # sent again: what it found is gone
    assert await store.add_sums(others(old=[1], new=[1]), "2")
    assert await store.read_sums("summarize") == others(kept=[9], new=[BIG + 1, -7], more=[4, 5], old=[1])


@pytest.mark.parametrize("found", [(1,), (1, 3), (1, 2, 0), (), (0, 2)])
async def test_nothing_is_replaced_unless_it_is_as_it_was_found(store: Store, found: tuple[int, ...]) -> None:
    await store.add_sums(others(old=[1, 2], also=[3]), "1")
    asked = Replacement("summarize", KEY.epoch, {"also": (3,), "old": found}, {"new": [1]})
    assert not await store.replace_sums(asked)
    assert await store.read_sums("summarize") == others(old=[1, 2], also=[3])


async def test_all_of_an_epoch_may_be_replaced_and_expires_as_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = asyncio.get_running_loop().time
    for keep_s in (0.2, 2.0, 20.0):  # a machine may be too slow to see it all before it is gone
        monkeypatch.setattr("rollout.core.sums.KEEP_S", keep_s)
        began_s = clock()
        await store.add_sums(others(old=[1]), f"{keep_s}")
        replaced = await store.replace_sums(Replacement("summarize", KEY.epoch, {"old": [1]}, {"new": [2]}))
        left = await store.read_sums("summarize")
        in_time = clock() - began_s < keep_s
        async with asyncio.timeout(60):
            while await store.read_sums("summarize"):  # noqa: ASYNC110  a store tells nobody
                await asyncio.sleep(0.02)
        if in_time:
            break
    assert (replaced, left) == (True, others(new=[2]))


async def test_a_replacement_is_bounded(store: Store) -> None:
    for found, instead in (
        ({"n": [0] * (VALUES_PER_FLUSH_MAX + 1)}, {}),
        ({"": [1]}, {}),
        ({}, {"n": []}),
        ({}, {"n": [2**62 + 1024]}),
    ):
        with pytest.raises(InvalidArgument):
            await store.replace_sums(Replacement("summarize", 1, found, instead))


async def test_of_many_that_replace_the_same_one_does(store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(4)]
    await stores[0].add_sums(others(old=[1]), "1")
    asked = (Replacement("summarize", KEY.epoch, {"old": [1], "new": []}, {"new": [each]}) for each in range(16))
    done = await asyncio.gather(*(stores[number % 4].replace_sums(each) for number, each in enumerate(asked)))
    assert sum(done) == 1
    assert await stores[0].read_sums("summarize") == others(new=[done.index(True)])
    for each in stores:
        await each.close()


async def test_epochs_expire_and_flushes_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.sums.KEEP_S", 0.05)
    monkeypatch.setattr("rollout.core.sums.REMEMBER_FLUSH_S", 0.05)
    assert await store.add_sums({KEY: [1]}, "1")
    await asyncio.sleep(0.1)
    assert await store.read_sums("summarize") == {}
    assert await store.add_sums({KEY: [1]}, "1")
    await asyncio.sleep(0.1)
    assert await store.add_sums({KEY._replace(epoch=9): [1]}, "2")


_FLUSHES = st.lists(
    st.dictionaries(
        st.tuples(st.integers(0, 2), st.sampled_from("ab")),
        st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=4),
        max_size=4,
    ),
    max_size=6,
)


@given(_FLUSHES, st.randoms())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_any_order_and_any_repetition_gives_the_same_sums(
    store: Store, flushes: list[dict[tuple[int, str], list[int]]], chance: random.Random
) -> None:
    feature = f"f{next(FEATURES)}"
    expected: dict[SumKey, list[int]] = {}
    for flush in flushes:
        for (epoch, name), vector in flush.items():
            key = SumKey(feature, epoch, name)
            expected[key] = merge(expected.get(key, ()), vector)
    sent = [*enumerate(flushes), *enumerate(flushes)]
    chance.shuffle(sent)
    for number, flush in sent:
        deltas = {SumKey(feature, epoch, name): vector for (epoch, name), vector in flush.items()}
        await store.add_sums(deltas, f"{feature}:{number}")
    assert await store.read_sums(feature) == {key: tuple(vector) for key, vector in expected.items()}


async def test_writers_that_add_at_once_lose_nothing(store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(4)]
    adding = [
        stores[number % 4].add_sums({KEY: [1, number]}, f"{number // 2}")  # each flush twice
        for number in range(80)
    ]
    counted = await asyncio.gather(*adding)
    assert sum(counted) == 40
    (total,) = (await stores[0].read_sums("summarize")).values()
    assert total[0] == 40
    for each in stores:
        await each.close()
