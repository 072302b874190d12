"""Each part counts once, however often a batch is sent: on a line that loses answers."""

from collections.abc import Mapping, Sequence

import pytest

from gateway.additions import Additions, ClaimedAdditions, Made
from rollout.core.claims import Claim
from rollout.core.errors import StoreUnavailable
from rollout.core.sums import SumKey

KEYS = [SumKey("draft", 1, name) for name in "xyz"]
CLAIMS = [Claim("draft", "d", digest) for digest in (1, 2)]


class Store:
    """Counts each flush once, as a store does; `lost`: so many answers."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.calls: list[str] = []
        self.sums: dict[SumKey, list[int]] = {}

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        is_new = flush_id not in self.calls
        for key, vector in deltas.items() if is_new else ():
            known = self.sums.get(key, [0] * len(vector))
            self.sums[key] = [one + other for one, other in zip(known, vector, strict=True)]
        return self._answer(flush_id, is_new)

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        return self._answer(flush_id, tuple(claim.digest == 1 for claim in claims))

    def _answer(self, flush_id: str, answer):
        self.calls.append(flush_id)
        if self.lost:
            self.lost -= 1
            raise StoreUnavailable("the line was cut")
        return answer


async def sent(batch: Additions | ClaimedAdditions) -> int:
    """How many times it took."""
    for number in range(1, 20):
        try:
            await batch.send()
        except StoreUnavailable:
            continue
        return number
    raise AssertionError("it never goes through")


@pytest.mark.parametrize("lost", range(5))
async def test_each_part_is_added_once(lost: int) -> None:
    store, made = Store(lost), []

    def parts(flush_id: str):
        made.append(flush_id)
        return [(f"{flush_id}.{number}", {key: [1, 2]}) for number, key in enumerate(KEYS)]

    batch = Additions(store, 7, parts)
    assert await sent(batch) == lost + 1
    assert store.sums == {key: [1, 2] for key in KEYS}
    assert (len(made), batch.observations, len(store.calls)) == (1, 7, 3 + lost)
    assert await sent(batch) == 1
    assert len(store.calls) == 3 + lost


@pytest.mark.parametrize("lost", range(4))
async def test_only_what_is_new_is_added_and_stands_for_it(lost: int) -> None:
    store, told = Store(lost), []

    def made(flush_id: str, new: Sequence[bool]) -> Made:
        told.append(tuple(new))
        return Made([(f"{flush_id}.0", {KEYS[0]: [sum(new)]})], sum(new))

    batch = ClaimedAdditions(store, CLAIMS, 2, made)
    assert batch.observations == 2
    assert await sent(batch) == lost + 1
    assert (store.sums, told, batch.observations) == ({KEYS[0]: [1]}, [(True, False)], 1)


async def test_without_claims_nothing_is_claimed() -> None:
    store = Store(0)
    batch = ClaimedAdditions(store, [], 1, lambda flush_id, new: Made([(flush_id, {KEYS[0]: [len(new) + 1]})], 1))
    await batch.send()
    assert (store.sums, len(store.calls)) == ({KEYS[0]: [1]}, 1)


async def test_no_two_batches_have_one_id() -> None:
    store = Store(0)
    for _ in range(2):
        await Additions(store, 1, lambda flush_id: [(flush_id, {KEYS[0]: [1]})]).send()
    assert store.sums == {KEYS[0]: [2]}
