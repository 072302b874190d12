"""What every store must do with people's votes."""

import asyncio

import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.core.errors import InvalidArgument
from rollout.core.votes import Choice, Vote
from rollout.ports import Store

VOTE = Vote("draft", "0" * 32, "ann", Choice.CANDIDATE, "inhouse", "partner", 5.0)


async def test_votes_come_back_oldest_first(store: Store, store_url: str) -> None:
    votes = [replace(VOTE, pair=f"{number:032x}", at_s=float(number)) for number in range(5)]
    for each in reversed(votes):
        await store.put_vote(each)
    assert await store.votes("draft") == votes
    other = open_store(store_url)
    assert await other.votes("draft") == votes
    await other.close()
    assert await store.votes("ask") == []
    assert await store.version() == 0


async def test_the_last_word_of_a_voter_on_a_pair_counts(store: Store) -> None:
    changed = replace(VOTE, choice=Choice.BOTH_BAD, at_s=4.0)
    others = [replace(VOTE, voter="bob|x"), replace(VOTE, pair="1" * 32), replace(VOTE, feature="ask")]
    for each in (VOTE, *others, changed):
        await store.put_vote(each)
    assert await store.votes("draft") == [changed, *others[:2]]
    assert await store.votes("ask") == [others[2]]


async def test_a_vote_that_can_not_be_read_back_is_refused(store: Store) -> None:
    with pytest.raises(InvalidArgument):
        await store.put_vote(replace(VOTE, pair="x"))
    assert await store.votes("draft") == []


async def test_votes_are_bounded_and_may_still_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.votes.VOTES_MAX", 2)
    kept = [VOTE, replace(VOTE, voter="bob")]
    for each in kept:
        await store.put_vote(each)
    with pytest.raises(InvalidArgument, match="2 votes already"):
        await store.put_vote(replace(VOTE, voter="eve"))
    assert await store.votes("draft") == kept
    await store.put_vote(replace(VOTE, choice=Choice.TIE))
    await store.put_vote(replace(VOTE, feature="ask"))
    assert [each.choice for each in await store.votes("draft")] == [Choice.TIE, Choice.CANDIDATE]


async def test_votes_are_forgotten_when_nobody_votes_any_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollout.core.votes.KEEP_S", 0.05)
    await store.put_vote(VOTE)
    await asyncio.sleep(0.1)
    assert await store.votes("draft") == []
    await store.put_vote(replace(VOTE, feature="ask"))
    monkeypatch.setattr("rollout.core.votes.KEEP_S", 60.0)
    assert await store.votes("draft") == []


async def test_more_than_one_piece(store: Store) -> None:
    votes = [replace(VOTE, pair=f"{number:032x}", voter="v" * 150) for number in range(1_500)]
    for start in range(0, 1_500, 50):
        await asyncio.gather(*(store.put_vote(each) for each in votes[start : start + 50]))
    assert await store.votes("draft") == votes
