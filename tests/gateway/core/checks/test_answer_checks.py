from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.answer_checks import ANSWER_MAX_CHARS, CHECKS, Checks, check
from gateway.core.checks.asked import Asked, Shape
from gateway.core.checks.ending import Ending

QUESTION = "Please summarize what happened at the meeting, and who will send the figures to the board this week."
ANSWER = "Anna will send the figures to the board on Thursday; the meeting moved to the week after that."
GERMAN = "Anna schickt die Zahlen am Donnerstag an den Vorstand, und die Sitzung ist eine Woche später mit dem Team."
ASKED = Asked(QUESTION)
OBJECT = Asked(QUESTION, json=Shape.OBJECT, required=("a",))
STOP = Ending.STOP


def test_a_good_answer_has_no_fault() -> None:
    checks = check(ANSWER, STOP, ASKED)
    assert checks == Checks(False, False, False, False, None, False, False)
    assert (checks.flawed, checks.faults) == (False, ())


@pytest.mark.parametrize(
    ("text", "ending", "asked", "faults"),
    [
        (" \n", STOP, ASKED, ("empty",)),
        ("", Ending.LENGTH, ASKED, ("empty", "truncated")),
        ("", Ending.REFUSED, ASKED, ("empty", "refusal")),
        (ANSWER, Ending.LENGTH, ASKED, ("truncated",)),
        ("I'm sorry, but I can't help with that.", STOP, ASKED, ("refusal",)),
        (ANSWER, Ending.REFUSED, ASKED, ("refusal",)),
        ("and so on " * 40, STOP, ASKED, ("repetition",)),
        (GERMAN, STOP, ASKED, ("wrong_language",)),
        (QUESTION, STOP, ASKED, ("echo",)),
        ("Here it is: {}", STOP, OBJECT, ("invalid_json",)),
        ('```json\n{"a": 1}\n```', STOP, OBJECT, ("invalid_json",)),
        ('{"b": 1}', STOP, OBJECT, ("invalid_json",)),
        ("[1]", STOP, OBJECT, ("invalid_json",)),
        ('{"a": "' + "and so on " * 40, Ending.LENGTH, OBJECT, ("truncated", "repetition", "invalid_json")),
        ("[" * 100_000, STOP, OBJECT, ("invalid_json",)),
        ('"\ud800"', STOP, OBJECT, ("invalid_json",)),
        ('{"a": "' + "and so on " * 40 + '"}', STOP, OBJECT, ()),
        ("[1]", STOP, Asked(QUESTION, json=Shape.ANY), ()),
        ("find(query)", Ending.TOOL, OBJECT, ()),
        (GERMAN, STOP, Asked(QUESTION, "Answer in German."), ()),
        (GERMAN, STOP, Asked(QUESTION + " In German."), ()),
        ("42", STOP, ASKED, ()),
    ],
)  # fmt: skip
def test_faults(text: str, ending: Ending, asked: Asked, faults: tuple[str, ...]) -> None:
    checks = check(text, ending, asked)
    assert checks.faults == faults
    assert checks.flawed is bool(faults)


@given(st.text(), st.sampled_from(Ending), st.text(), st.sampled_from([None, *Shape]))
def test_every_text_has_verdicts(text: str, ending: Ending, question: str, shape: Shape | None) -> None:
    checks = check(text, ending, Asked(question, json=shape))
    assert all(found in {True, False, None} for found in checks)
    assert check(text, ending, Asked(question, json=shape)) == checks
    assert len(checks) == len(CHECKS)


def test_of_an_answer_that_is_too_large_only_the_beginning_is_judged() -> None:
    checks = check('{"a": 1}' + "x " * ANSWER_MAX_CHARS, STOP, OBJECT)
    assert checks.invalid_json is None
    assert checks.truncated is None
