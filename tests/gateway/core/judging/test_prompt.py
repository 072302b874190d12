"""The question to a judge: what is in it, what can't get out of its quotation marks, and what makes another version."""

import json
from collections.abc import Mapping
from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.judging import prompt
from gateway.core.judging.prompt import RUBRIC, SYSTEM, USER, Frozen, Matter, question, version

FENCE = "0123456789abcdef" * 2
FROZEN = Frozen("judge-1", RUBRIC, {"temperature": 0, "max_tokens": 512}, 400, 200)
MATTER = Matter("user:\nSay hi.", "Hi!", "Hello.")


def asked(matter: Matter = MATTER, frozen: Frozen = FROZEN, *, candidate_first: bool = True) -> Mapping[str, object]:
    return json.loads(question(frozen, matter, FENCE, candidate_first=candidate_first))


def user_message(matter: Matter, *, candidate_first: bool = True) -> str:
    return asked(matter, candidate_first=candidate_first)["messages"][1]["content"]


def test_a_question_is_a_chat_completion_with_the_judges_own_parameters() -> None:
    body = asked()
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge-1", 0, 512)
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert RUBRIC in system["content"]
    assert FENCE not in system["content"]


def test_parameters_replace_neither_model_nor_messages() -> None:
    body = asked(frozen=msgspec.structs.replace(FROZEN, parameters={"model": "x", "messages": []}))
    assert body["model"] == "judge-1"
    assert len(body["messages"]) == 2


def test_request_and_answers_are_quoted_in_their_order() -> None:
    text = user_message(MATTER, candidate_first=True)
    assert text.splitlines()[0] == f"The mark of this message is {FENCE}."
    parts = ("the request", "user:\nSay hi."), ("the first answer", "Hi!"), ("the second answer", "Hello.")
    blocks = [f"{FENCE} {title} begins\n{said}\n{FENCE} {title} ends" for title, said in parts]
    assert [text.count(block) for block in blocks] == [1, 1, 1]
    assert [text.index(block) for block in blocks] == sorted(text.index(block) for block in blocks)


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_orders_differ_in_the_places_of_the_answers_only(one: str, two: str) -> None:
    """Nothing in the prompt says which arm an answer comes from."""
    there = question(FROZEN, Matter("r", one, two), FENCE, candidate_first=True)
    back = question(FROZEN, Matter("r", two, one), FENCE, candidate_first=False)
    assert there == back


@given(st.text(max_size=100), st.text(max_size=600), st.text(max_size=600))
def test_what_is_quoted_cannot_end_its_quotation(request: str, one: str, two: str) -> None:
    text = user_message(Matter(request, one, two))
    marked = [line for line in text.split("\n") if line.startswith(FENCE)]
    places = [f"{FENCE} {title} {edge}" for title in ("the request", "the first answer", "the second answer")
              for edge in ("begins", "ends")]  # fmt: skip
    assert marked[:-1] == places
    assert marked[-1].startswith(f"{FENCE} end of the material.")


def test_braces_in_the_material_are_no_places_to_fill() -> None:
    text = user_message(Matter("{first} {rubric}", "{fence}", "{0} {{x}}"))
    assert "{first} {rubric}" in text
    assert "\n{fence}\n" in text
    assert "\n{0} {{x}}\n" in text


def test_long_texts_are_cut_alike() -> None:
    text = user_message(Matter("r" * 500, "a" * 300, "b" * 300))
    assert text.count("characters left out") == 3
    assert text.count(f"[{FENCE}: 100 characters left out]") == 3
    assert (text.count("r" * 266), text.count("a" * 133), text.count("b" * 133)) == (1, 1, 1)


@pytest.mark.parametrize("fence", ["", "x" * 32, FENCE.upper(), FENCE + "0"])
def test_a_mark_that_anybody_could_guess_is_refused(fence: str) -> None:
    with pytest.raises(ValueError, match="drawn at random"):
        question(FROZEN, MATTER, fence, candidate_first=True)


@pytest.mark.parametrize("place", range(3))
def test_a_mark_that_occurs_in_the_material_is_refused(place: int) -> None:
    texts = ["a", "b", "c"]
    texts[place] = f"x{FENCE}x"
    with pytest.raises(ValueError, match="drawn at random"):
        question(FROZEN, Matter(*texts), FENCE, candidate_first=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "judge-2"},
        {"rubric": "Be kind."},
        {"parameters": {"temperature": 1}},
        {"request_max_chars": 401},
        {"answer_max_chars": 201},
    ],
)
def test_each_part_of_what_is_frozen_makes_another_version(changed: dict[str, object]) -> None:
    assert version(msgspec.structs.replace(FROZEN, **changed), "m") != version(FROZEN, "m")


def test_so_does_a_model_that_answers_under_the_same_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    before = version(FROZEN, "judge-1-2026-08")
    assert before != version(FROZEN, "judge-1-2026-11")
    reordered = msgspec.structs.replace(FROZEN, parameters={"max_tokens": 512, "temperature": 0})
    assert before == version(reordered, "judge-1-2026-08")
    for name, other in (("EDITION", 2), ("SYSTEM", "x"), ("USER", "x")):
        with monkeypatch.context() as patch:
            patch.setattr(prompt, name, other)
            assert version(FROZEN, "judge-1-2026-08") != before


def test_the_words_are_frozen() -> None:
    """Changed on purpose? Evidence of running ramps starts afresh: raise EDITION, then put the new digest here."""
    digest = blake2b(f"{SYSTEM}\0{USER}\0{RUBRIC}".encode(), digest_size=8).hexdigest()
    assert (prompt.EDITION, digest) == (1, "188a54ad9d1a9637")
