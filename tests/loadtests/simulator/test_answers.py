import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import InvalidFileError
from loadtests.prompts import Message, Prompt
from loadtests.simulator.answers import (
    NO_REFERENCES,
    Answer,
    Finish,
    References,
    answer_to,
    compile_references,
    corrupt,
    generic_answer,
    limited,
    tokenise,
)

KEYS = st.integers(min_value=0, max_value=(1 << 128) - 1)


def prompt(question: str, reference: str | None) -> Prompt:
    return Prompt("draft", (Message("user", question),), reference)


def ask(question: str, references: References, accuracy: float, max_tokens: int | None = None) -> Answer:
    return answer_to(
        question,
        references,
        seed=5,
        accuracy=accuracy,
        generic_tokens=8,
        max_tokens=max_tokens,
    )


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(tokenise(text)) == text


@given(st.text(), KEYS)
def test_a_corrupted_reference_is_wrong_and_not_empty(reference: str, key: int) -> None:
    wrong = corrupt(reference, ("Anna", "Ben"), key)
    assert wrong.strip() != reference.strip()
    assert wrong


@given(st.from_regex(r"[a-z ]*[0-9][a-z0-9 ]*", fullmatch=True), KEYS)
def test_a_digit_is_exchanged_first(reference: str, key: int) -> None:
    wrong = corrupt(reference, (), key)
    changed = [(old, new) for old, new in zip(reference, wrong, strict=True) if old != new]
    assert len(changed) == 1
    assert all(old.isdigit() and new.isdigit() for old, new in changed)


def test_without_a_digit_a_name_is_exchanged_for_another_known_one() -> None:
    assert corrupt("Ask Anna today.", ("Anna", "Ben"), 1) == "Ask Ben today."
    assert corrupt("Ask Anna today.", ("Anna",), 1) == "Ask Someone today."


def test_without_digit_and_name_a_word_is_missing() -> None:
    assert len(corrupt("please come today", (), 1).split()) == 2
    assert corrupt("please", (), 1) == "No answer."


def test_accuracy_1_answers_every_reference_and_accuracy_0_none() -> None:
    prompts = tuple(prompt(f"question {n}", f"answer {n}") for n in range(50))
    references = compile_references(prompts)
    assert all(ask(p.question, references, 1.0).text == p.reference for p in prompts)
    assert all(ask(p.question, references, 0.0).text != p.reference for p in prompts)


def test_the_set_accuracy_is_met_and_replays() -> None:
    prompts = tuple(prompt(f"question {n}", f"answer {n}") for n in range(2000))
    references = compile_references(prompts)
    right = [ask(p.question, references, 0.9).text == p.reference for p in prompts]
    # Within 4 binomial standard deviations of 0.9, for this one fixed seed.
    assert abs(sum(right) / 2000 - 0.9) < 4 * (0.9 * 0.1 / 2000) ** 0.5
    assert right[:50] == [ask(p.question, references, 0.9).text == p.reference for p in prompts[:50]]


def test_an_unknown_prompt_gets_an_answer_that_says_it_is_simulated() -> None:
    answer = ask("never seen", NO_REFERENCES, 1.0)
    assert "simulated" in answer.text
    assert len(answer.pieces) == 8


@given(st.integers(min_value=1, max_value=500))
def test_a_generic_answer_has_the_asked_length(tokens: int) -> None:
    assert len(generic_answer(tokens, None).pieces) == tokens


def test_the_token_limit_cuts_and_says_so() -> None:
    references = compile_references([prompt("q", "one two three")])
    assert ask("q", references, 1.0, 2) == Answer(("one", " two"), Finish.LENGTH)
    assert limited(("a", "b"), 2) == Answer(("a", "b"), Finish.STOP)


def test_prompts_without_reference_are_left_out() -> None:
    assert compile_references([prompt("q", None)]) == NO_REFERENCES


def test_two_references_for_one_prompt_are_refused() -> None:
    compile_references([prompt("q", "a"), prompt("q", "a")])
    with pytest.raises(InvalidFileError, match="two references"):
        compile_references([prompt("q", "a"), prompt("q", "b")])
