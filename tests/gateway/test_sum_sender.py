import logging

import pytest

from gateway.sum_sender import SumSender
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.sums import REMEMBER_FLUSH_S, SumKey

KEY = SumKey("draft", 1, "x")


class Store:
    """Counts each flush once, as a store does; `faults` come first."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.ids: list[str] = []
        self.sums: dict[SumKey, list[int]] = {}

    async def add_sums(self, deltas, flush_id: str) -> bool:
        is_new = flush_id not in self.ids
        self.ids.append(flush_id)
        if is_new:
            for key, vector in deltas.items():
                known = self.sums.get(key, [0] * len(vector))
                self.sums[key] = [one + other for one, other in zip(known, vector, strict=True)]
        if self.faults:
            raise self.faults.pop()
        return is_new


@pytest.fixture
def store() -> Store:
    return Store()


async def test_nothing_is_sent_where_nothing_is(store: Store) -> None:
    await SumSender(store, lambda: 0.0, "requests").send()
    assert store.ids == []


async def test_a_lost_answer_is_asked_for_again_under_the_same_id(store: Store) -> None:
    sender = SumSender(store, lambda: 0.0, "requests")
    store.faults = [StoreUnavailable("away"), TimeoutError()]
    sender.begin({KEY: [1, 2]}, 3)
    for left in (3, 3, 0):
        await sender.send()
        assert sender.on_the_way == left
    assert (store.ids, store.sums, sender.lost) == ([store.ids[0]] * 3, {KEY: [1, 2]}, 0)
    sender.begin({KEY: [1, 2]}, 3)
    await sender.send()
    assert (len(set(store.ids)), store.sums) == (2, {KEY: [2, 4]})


@pytest.mark.parametrize("fault", [InvalidArgument("no room"), ZeroDivisionError()])
async def test_what_the_store_refuses_is_not_sent_for_ever(store: Store, fault: Exception, caplog) -> None:
    sender = SumSender(store, lambda: 0.0, "requests")
    store.faults = [fault]
    sender.begin({KEY: [1]}, 3)
    await sender.send()
    assert (sender.on_the_way, sender.lost) == (0, 3)
    assert "3 requests are not counted for ramps" in caplog.text


async def test_a_store_that_stays_away_is_given_up(store: Store, caplog) -> None:
    now_s = 0.0
    sender = SumSender(store, lambda: now_s, "requests")
    store.faults = [StoreUnavailable("away")]
    sender.begin({KEY: [1]}, 3)
    with caplog.at_level(logging.WARNING):
        await sender.send()
        assert (sender.on_the_way, sender.lost, caplog.text) == (3, 0, "")
        now_s = REMEMBER_FLUSH_S
        await sender.send()
    assert (sender.on_the_way, sender.lost) == (0, 3)
    assert "the store did not answer in time" in caplog.text
