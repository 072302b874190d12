from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from gateway.core.keeping import Mark
from gateway.core.training import marks_of, preferences, rated
from tests.gateway.texts import texts


def judge(number: int, value: float, name: str = "third", at_s: float = 1.0) -> Mark:
    return Mark(f"{number:032x}", at_s, "judge", name, value, "v1")


def rating(number: int, value: float, kind: str = "rating", at_s: float = 1.0) -> Mark:
    return Mark(f"{number:032x}", at_s, "feedback", kind, value)


def lines(raw) -> list[dict[str, object]]:
    return [json.loads(each) for each in raw]


def test_a_preference_has_the_shape_that_trainers_read() -> None:
    (line,) = preferences([texts(1)], marks_of([judge(1, 1.0)], "judge"), {})
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "prompt": [{"role": "user", "content": "hello"}],
        "chosen": [{"role": "assistant", "content": "ours"}],
        "rejected": [{"role": "assistant", "content": "theirs"}],
        "source": "judge",
        "version": "v1",
        "chosen_model": "inhouse",
        "rejected_model": "partner",
        "votes": None,
        "feature": "draft",
        "revision": 7,
        "id": f"{1:032x}",
        "at_s": texts().at_s,
    }


def test_the_loser_is_rejected_ties_are_left_out_and_people_count_apart() -> None:
    marks = marks_of([judge(1, 0.0), judge(2, 0.5), judge(3, 1.0), judge(3, 0.0, "fourth")], "judge")
    found = lines(
        preferences([texts(number) for number in range(5)], marks, {f"{2:032x}": (1, 3), f"{4:032x}": (2, 0)})
    )
    told = [(int(str(each["id"]), 16), each["source"], each["chosen_model"], each["votes"]) for each in found]
    assert told == [
        (1, "judge", "partner", None),
        (2, "arena", "partner", [3, 1]),
        (3, "judge", "inhouse", None),
        (3, "judge", "partner", None),
        (4, "arena", "inhouse", [2, 0]),
    ]


@pytest.mark.parametrize("changed", [{"candidate": None}, {"baseline": None}, {"candidate": texts().baseline}])
def test_one_answer_or_twice_the_same_is_no_preference(changed: dict[str, object]) -> None:
    assert not [*preferences([replace(texts(1), **changed)], marks_of([judge(1, 1.0)], "judge"), {})]


def test_rated_answers_are_those_the_caller_got() -> None:
    marks = marks_of([rating(1, 0.25), rating(1, 1.0, "accepted"), rating(9, 1.0), judge(1, 1.0)], "feedback")
    found = lines(rated([texts(1), texts(2)], marks))
    assert [(each["kind"], each["rating"], each["model"], each["source"]) for each in found] == [
        ("rating", 0.25, "partner", "feedback"),
        ("accepted", 1.0, "partner", "feedback"),
    ]
    assert found[0]["messages"] == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "theirs"}]
    assert not [*rated([replace(texts(1), baseline=None)], marks)]


def test_the_last_mark_counts_whatever_the_order() -> None:
    old, new = rating(1, 0.0, at_s=1.0), rating(1, 1.0, at_s=2.0)
    for marks in ([old, new], [new, old]):
        (kept,) = marks_of([texts(1), *marks], "feedback").values()
        assert kept == new


def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.core.training.MARKS_MAX", 2)
    found = marks_of([rating(1, 0.0), rating(2, 0.0), rating(3, 0.0), rating(2, 1.0, at_s=3.0)], "feedback")
    assert [(int(mark.id, 16), mark.value) for mark in found.values()] == [(1, 0.0), (2, 1.0)]
