from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.arena import candidate_is_left, choice_of, chosen, opened, sealed
from gateway.core.keeping import Mark
from rollout.core.votes import Choice
from tests.gateway.texts import texts

if TYPE_CHECKING:
    import pytest

KEY = b"k" * 32
NONE = frozenset[str]()


def first(_: int) -> int:
    return 0


def test_pairs_that_fewest_have_voted_on_come_first() -> None:
    lines = [texts(number) for number in range(4)]
    votes = {f"{0:032x}": 2, f"{1:032x}": 1, f"{2:032x}": 1, f"{3:032x}": 3}
    asked: list[int] = []

    def last(count: int) -> int:
        asked.append(count)
        return count - 1

    assert chosen(lines, NONE, votes, last) == lines[2]
    assert chosen(lines, frozenset({lines[1].id, lines[2].id}), votes, last) == lines[0]
    assert asked == [2, 1]


def test_what_cannot_be_compared_is_not_shown() -> None:
    mark = Mark("0" * 32, 1.0, "judge", "third", 1.0)
    lines = [
        mark,
        texts(1, ours="same", theirs="same"),
        replace(texts(2), candidate=None),
        replace(texts(3), baseline=None),
    ]
    assert chosen(lines, NONE, {}, first) is None
    assert chosen([*lines, texts(4)], NONE, {}, first) == texts(4)
    assert chosen([texts(4)], frozenset({texts(4).id}), {}, first) is None


def test_looking_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.core.arena.CHOSEN_FROM", 2)
    endless = (texts(number) for number in iter(int, 1))
    monkeypatch.setattr("gateway.core.arena.LOOKED_AT_MAX", 10)
    assert chosen(endless, NONE, {}, first) == texts(0)
    many = [texts(number) for number in range(5)]
    assert chosen(many, NONE, {many[0].id: 1, many[1].id: 1}, first) == many[0]


def test_a_ticket_opens_for_its_voter_and_feature_only() -> None:
    ticket = sealed(KEY, "draft", "ann", "0" * 32, "ab12")
    assert opened(KEY, "draft", "ann", ticket) == ("0" * 32, "ab12")
    for key, feature, voter in ((b"x" * 32, "draft", "ann"), (KEY, "ask", "ann"), (KEY, "draft", "bob")):
        assert opened(key, feature, voter, ticket) is None
    for forged in ("", ".", "..", "ä", ticket[:-1], ticket + "0", ticket.replace("ab12", "ab13"), ticket.upper()):
        assert opened(KEY, "draft", "ann", forged) is None


def test_sides_are_drawn_for_each_showing() -> None:
    sides = [candidate_is_left(KEY, "draft", "ann", "0" * 32, f"{number:024x}") for number in range(1_000)]
    assert sides == [candidate_is_left(KEY, "draft", "ann", "0" * 32, f"{number:024x}") for number in range(1_000)]
    assert 420 < Counter(sides)[True] < 580
    other = [candidate_is_left(b"x" * 32, "draft", "ann", "0" * 32, f"{number:024x}") for number in range(1_000)]
    assert 420 < sum(one == two for one, two in zip(sides, other, strict=True)) < 580


@given(st.booleans(), st.sampled_from(["left", "right", "tie", "both_bad", "skip"]))
def test_turning_the_sides_turns_the_vote(left: bool, verdict) -> None:  # noqa: FBT001
    turned = {"left": "right", "right": "left"}.get(verdict, verdict)
    assert choice_of(verdict, candidate_left=left) is choice_of(turned, candidate_left=not left)


def test_what_votes_mean() -> None:
    assert choice_of("left", candidate_left=True) is Choice.CANDIDATE
    assert choice_of("right", candidate_left=True) is Choice.BASELINE
    assert choice_of("both_bad", candidate_left=True) is Choice.BOTH_BAD
