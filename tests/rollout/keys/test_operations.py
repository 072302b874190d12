import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument, KeyRefused, RolloutError, StoreReset, StoreUnavailable, UnknownKey
from rollout.core.keys import DAY_S, KeyRecord, KeyScope, digest
from rollout.keys.operations import KeyOperations
from rollout.ports import KeyChange, Store

CLIENT = ("acme", "web")


class Noticed:
    """Counts the changes this process was told of."""

    times = 0

    async def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def noticed() -> Noticed:
    return Noticed()


@pytest.fixture
async def operations(
    seeded: Store, clock: Any, make_key: Callable[[], str], noticed: Noticed, first: KeyRecord
) -> KeyOperations:
    await seeded.create_key_if_empty(first)
    return KeyOperations(seeded, clock, make_key, noticed)


async def create(operations: KeyOperations, scope: KeyScope | None = None, **options: Any) -> Any:
    given = {"expires_in_s": None, "actor": "ann", "reason": "r"} | options
    return await operations.create(CLIENT, scope or KeyScope(), **given)


async def test_a_created_key_is_stored_as_its_digest_and_told_once(
    operations: KeyOperations, seeded: Store, noticed: Noticed
) -> None:
    made = await create(operations, KeyScope(features=("draft",)), expires_in_s=3_600.0, reason="  new team ")
    assert made.key == "gp-secret-1"
    assert made.record.digest == digest("gp-secret-1")
    assert (made.record.expires_at_s, made.replaced) == (4_600.0, None)
    assert (await seeded.list_keys())[-1] == made.record
    (entry, _) = await operations.history(limit=9, before_id=None)
    assert (entry.actor, entry.reason, entry.key_id, entry.at_s) == ("ann", "new team", made.record.id, 1_000.0)
    assert noticed.times == 1


async def test_a_misspelt_feature_is_refused_with_the_nearest(operations: KeyOperations, seeded: Store) -> None:
    with pytest.raises(InvalidArgument, match="no feature 'drft'") as fault:
        await create(operations, KeyScope(features=("summarize", "drft")))
    assert "did you mean draft?" in fault.value.hint
    assert len(await seeded.list_keys()) == 1


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
async def test_a_change_needs_a_reason(operations: KeyOperations, first: KeyRecord, reason: str) -> None:
    for change in (
        create(operations, reason=reason),
        operations.revoke(first.id, force=True, actor="ann", reason=reason),
    ):
        with pytest.raises(InvalidArgument, match="reason"):
            await change


async def test_rotating_and_revoking(operations: KeyOperations, seeded: Store, clock: Any) -> None:
    made = await create(operations)
    rotated = await operations.rotate(
        made.record.id, overlap_s=60.0, expires_in_s=None, force=False, actor="bob", reason="yearly"
    )
    assert (rotated.key, rotated.replaced.id, rotated.replaced.expires_at_s) == ("gp-secret-2", made.record.id, 1_060.0)
    clock.at_s += 61
    live = [record.id for record in await operations.read(dead_too=False)]
    assert live == [(await seeded.list_keys())[0].id, rotated.record.id]
    assert len(await operations.read(dead_too=True)) == 3
    revoked = await operations.revoke(rotated.record.id, force=False, actor="bob", reason="leaked")
    assert revoked.revoked_at_s == clock.at_s
    clock.at_s += 5
    again = await operations.revoke(rotated.record.id, force=False, actor="eve", reason="again")
    assert again == revoked
    assert [entry.actor for entry in await operations.history(limit=9, before_id=None)] == [
        "bob",
        "bob",
        "ann",
        "gateway",
    ]


async def test_what_the_rules_forbid_changes_nothing(
    operations: KeyOperations, seeded: Store, first: KeyRecord, noticed: Noticed
) -> None:
    with pytest.raises(KeyRefused, match="last admin key"):
        await operations.revoke(first.id, force=False, actor="ann", reason="r")
    with pytest.raises(UnknownKey):
        await operations.revoke("key_none", force=True, actor="ann", reason="r")
    with pytest.raises(InvalidArgument):
        await operations.rotate(first.id, overlap_s=-1, expires_in_s=None, force=True, actor="ann", reason="r")
    assert (await seeded.load_keys(), noticed.times) == ((3, [first]), 0)
    assert (await operations.revoke(first.id, force=True, actor="ann", reason="r")).revoked_at_s == 1_000.0


async def test_of_many_keys_asked_for_at_once_a_client_gets_two(operations: KeyOperations, seeded: Store) -> None:
    results = await asyncio.gather(*(create(operations) for _ in range(6)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, KeyRefused)]
    assert (len(refused), len(await seeded.list_keys())) == (4, 3)


async def test_two_admins_cannot_revoke_each_other_at_once(operations: KeyOperations, first: KeyRecord) -> None:
    other = await create(operations, KeyScope(roles=("admin",)))
    revocations = [operations.revoke(key, force=False, actor="ann", reason="r") for key in (first.id, other.record.id)]
    results = await asyncio.gather(*revocations, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["KeyRecord", "KeyRefused"]
    (left,) = await operations.read(dead_too=False)
    assert left.is_live(1_000.0 + DAY_S)


async def test_a_store_that_others_always_change_first_is_given_up(
    seeded: Store, clock: Any, make_key: Callable[[], str], noticed: Noticed, first: KeyRecord
) -> None:
    class Busy:
        """The store, with somebody who is faster each time."""

        load, load_keys = seeded.load, seeded.load_keys

        async def change_keys(self, change: KeyChange, expected_version: int) -> bool:
            return await seeded.change_keys(change, expected_version - 1)

    await seeded.create_key_if_empty(first)
    with pytest.raises(StoreUnavailable, match="each of 10 attempts"):
        await create(KeyOperations(Busy(), clock, make_key, noticed))
    assert (await seeded.list_keys(), noticed.times) == ([first], 0)


async def test_keys_that_a_store_lost_are_written_back(
    operations: KeyOperations, seeded: Store, first: KeyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.core.keys.RESTORED_AT_ONCE", 1)
    lost = [replace(first, id=f"key_lost-{number}") for number in range(2)]
    await operations.restore([first, *lost], actor="ann", reason="the disk is gone")
    assert {record.id for record in await seeded.list_keys()} == {first.id, "key_lost-0", "key_lost-1"}
    entries = await operations.history(limit=9, before_id=None)
    assert [entry.details.get("keys") for entry in entries[:2]] == [["key_lost-1"], ["key_lost-0"]]
    await operations.restore([first, *lost], actor="ann", reason="again")
    assert await operations.history(limit=9, before_id=None) == entries


async def test_keys_of_a_store_that_lost_its_data_are_not_shown_for_those_in_force(
    seeded: Store, clock: Any, make_key: Callable[[], str], noticed: Noticed, first: KeyRecord
) -> None:
    await seeded.create_key_if_empty(first)
    fault: list[RolloutError] = [StoreReset("it is another one", "accept-loss")]
    operations = KeyOperations(seeded, clock, make_key, noticed, lambda: fault[0])
    with pytest.raises(StoreReset, match="another one"):
        await operations.read(dead_too=False)
    with pytest.raises(StoreReset):
        await operations.history(limit=1, before_id=None)
    with pytest.raises(StoreReset):
        await operations.revoke("key_lost", force=False, actor="ann", reason="r")
    fault[0] = StoreUnavailable("it was away for a moment", "")
    assert await operations.read(dead_too=False) == [first]
