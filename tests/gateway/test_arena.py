from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.core.keeping import Side
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import InvalidArgument, UnknownFeature
from rollout.core.model import Keep
from rollout.core.votes import Choice
from tests.gateway.operators import Operators
from tests.gateway.texts import flag, texts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def here(tmp_path: Path, stack) -> Operators:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    made = Operators(tmp_path, store)
    await stack.enter_async_context(made.client)
    return made


async def test_a_vote_is_on_the_side_that_was_shown(here: Operators) -> None:
    """Whatever the coin says: whoever finds "ours" better votes for the candidate."""
    here.put(*(texts(number) for number in range(20)))
    sides = []
    for number in range(20):
        shown = await here.arena.next_pair("draft", "ann")
        assert shown is not None
        assert {shown.left, shown.right} == {"ours", "theirs"}
        better = "left" if shown.left == "ours" else "right"
        sides.append(better)
        here.now_s += 1
        revealed = await here.arena.vote("draft", "ann", shown.ticket, better)
        assert revealed == (("inhouse", "partner") if better == "left" else ("partner", "inhouse"))
        assert len(await here.store.votes("draft")) == number + 1
    votes = await here.store.votes("draft")
    assert {(vote.choice, vote.candidate, vote.baseline, vote.voter) for vote in votes} == {
        (Choice.CANDIDATE, "inhouse", "partner", "ann")
    }
    assert len({vote.pair for vote in votes}) == 20
    assert set(sides) == {"left", "right"}
    assert await here.arena.next_pair("draft", "ann") is None
    assert await here.arena.next_pair("draft", "bob") is not None


async def test_who_has_seen_whose_answers_they_are_cannot_change_the_vote(here: Operators) -> None:
    """Not with the ticket of another showing either; the same vote may be repeated, as its answer may be lost."""
    here.put(texts(1))
    first, second = [await here.arena.next_pair("draft", "ann") for _ in range(2)]
    revealed = await here.arena.vote("draft", "ann", first.ticket, "tie")
    assert await here.arena.vote("draft", "ann", first.ticket, "tie") == revealed
    for shown in (first, second):
        with pytest.raises(InvalidArgument, match="you have voted on this pair"):
            await here.arena.vote("draft", "ann", shown.ticket, "left")
    other = await here.arena.next_pair("draft", "bob")
    await here.arena.vote("draft", "bob", other.ticket, "both_bad")
    votes = {vote.voter: vote.choice for vote in await here.store.votes("draft")}
    assert votes == {"ann": Choice.TIE, "bob": Choice.BOTH_BAD}


async def test_what_was_not_shown_cannot_be_voted_on(here: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    here.put(texts(1), texts(2))
    monkeypatch.setattr("gateway.arena.SHOWN_MAX", 1)
    first = await here.arena.next_pair("draft", "ann")
    await here.arena.vote("draft", "ann", first.ticket, "skip")
    second = await here.arena.next_pair("draft", "ann")
    for voter, feature, ticket in (
        ("bob", "draft", second.ticket),
        ("ann", "ask", second.ticket),
        ("ann", "draft", second.ticket[:-1]),
        ("ann", "draft", first.ticket),
    ):
        with pytest.raises(InvalidArgument, match="not shown"):
            await here.arena.vote(feature, voter, ticket, "left")
    assert len(await here.store.votes("draft")) == 1


async def test_features_that_keep_pairs_are_listed_and_others_unknown(here: Operators) -> None:
    assert here.arena.features() == ["ask", "draft"]
    here.flags["ask"] = flag(Keep(answers=True), "ask")
    assert here.arena.features() == ["draft"]
    for work in (here.arena.next_pair("x", "ann"), here.arena.vote("x", "ann", "t", "tie"), here.arena.ratings("x")):
        with pytest.raises(UnknownFeature):
            await work


async def test_ratings_are_against_the_present_baseline(here: Operators) -> None:
    here.put(texts(1), replace(texts(2), candidate=Side("inhouse-2", "better")))
    for voter in ("ann", "bob"):
        for _ in range(2):
            shown = await here.arena.next_pair("draft", voter)
            await here.arena.vote("draft", voter, shown.ticket, "right" if shown.left == "theirs" else "left")
    found = await here.arena.ratings("draft")
    assert (found.reference, found.votes, found.voters) == ("partner", 4, 2)
    assert [each.name for each in found.ratings] == ["inhouse", "inhouse-2", "partner"]
    assert found.ratings[0].win == pytest.approx(2.5 / 3)
