"""Tasks whose right answer is known."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.judging.references import Reference, Scorer, score, win


@pytest.mark.parametrize(
    ("scorer", "reference", "answer", "expected"),
    [
        ("exact", "Paris", " Paris\n", 1.0),
        ("exact", "Paris", "paris", 0.0),
        ("same_words", "It's Paris!", "its paris", 0.0),
        ("same_words", "New  York.", "new york", 1.0),
        ("same_words", "Stra\u00dfe", "STRASSE", 1.0),
        ("same_words", "\ufb01ne", "fine", 1.0),
        ("contains", "New York", "It is in NEW\nYORK, I think.", 1.0),
        ("contains", "art", "Mozart", 0.0),
        ("contains", "?!", "anything", 0.0),
        ("number", "42", "So 6 times 7 makes 42.", 1.0),
        ("number", "42", "42 is wrong, it is 43", 0.0),
        ("number", "1,234.50", "$1234.5", 1.0),
        ("number", "-3", "x = -3.0", 1.0),
        ("number", "1e3", "1000", 1.0),
        ("number", ".5", "0.50", 1.0),
        ("number", "none", "none", 0.0),
        ("number", "1", "one", 0.0),
        ("json", '{"a": 1, "b": [2]}', '```json\n{"b":[2.0],"a":1}\n```', 1.0),
        ("json", '{"a": 1}', '{"a": true}', 0.0),
        ("json", '{"a": 1}', '{"a": "1"}', 0.0),
        ("json", "null", "null", 1.0),
        ("json", "null", "no JSON", 0.0),
        ("json", "no JSON", "no JSON", 0.0),
        ("word_f1", "the cat sat", "the cat", 0.8),
        ("word_f1", "the cat", "a dog", 0.0),
        ("word_f1", "a a b", "a b b", 2 / 3),
    ],
)
def test_scorers(scorer: str, reference: str, answer: str, expected: float) -> None:
    assert score(Reference(Scorer(scorer), (reference,)), answer) == pytest.approx(expected)


def test_any_of_several_references_will_do() -> None:
    reference = Reference(Scorer.WORD_F1, ("one two", "three four", "one"))
    assert score(reference, "one") == 1.0


def test_two_answers_compare_like_a_judges_verdict() -> None:
    reference = Reference(Scorer.EXACT, ("4",))
    assert win(reference, "4", "5") == 1.0
    assert win(reference, "5", "4") == 0.0
    assert win(reference, "5", "6") == win(reference, "4", "4 ") == 0.5


@pytest.mark.parametrize("texts", [(), ("",), (" ", "\n")])
def test_a_reference_must_say_something(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="needs a text"):
        Reference(Scorer.EXACT, texts)


def test_references_are_read_from_json_and_nothing_unknown_in_them() -> None:
    line = b'{"scorer":"number","texts":["4"]}'
    assert msgspec.json.decode(line, type=Reference) == Reference(Scorer.NUMBER, ("4",))
    for wrong in (b'{"scorer":"numbr","texts":["4"]}', b'{"scorer":"number","texts":["4"],"x":1}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Reference)


def test_depth_is_no_way_to_break_it() -> None:
    for depth in (900, 50_000):
        deep = "[" * depth + "]" * depth
        assert score(Reference(Scorer.JSON, (deep,)), deep) in {0.0, 1.0}


@given(st.sampled_from(Scorer), st.text(min_size=1).filter(str.strip), st.text(), st.text())
def test_scores_are_bounded_and_swapping_the_arms_turns_the_win_round(
    scorer: Scorer, text: str, one: str, two: str
) -> None:
    reference = Reference(scorer, (text,))
    assert 0.0 <= score(reference, one) <= 1.0
    assert win(reference, one, two) == 1.0 - win(reference, two, one)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda e: st.lists(e) | st.dictionaries(st.text(), e)
    )
)
def test_the_same_json_is_right_however_it_is_written(value: object) -> None:
    reference = Reference(Scorer.JSON, (json.dumps(value),))
    assert score(reference, json.dumps(value, indent=3, ensure_ascii=False)) == 1.0
