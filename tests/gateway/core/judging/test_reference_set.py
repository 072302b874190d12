import json
from pathlib import Path

import pytest

from gateway.core.judging.reference_set import digest_of, read_references
from gateway.core.judging.references import Reference, Scorer

PROMPT = {"prompt": "What is 2 + 2?", "reference": "4"}


def read(*lines: object, scorer: Scorer = Scorer.NUMBER):
    return read_references("\n".join(json.dumps(line) for line in lines) + "\n\n", scorer)


def chat(*messages: tuple[str, str], **more: object) -> bytes:
    turns = [{"role": role, "content": text} for role, text in messages]
    return json.dumps({"model": "copilot/draft", "messages": turns, **more}).encode()


def test_a_request_is_found_by_what_was_asked_whatever_else_it_says() -> None:
    found = read(PROMPT, {"messages": [{"role": "system", "content": "Be brief."}], "reference": ["yes", "yep"]})
    assert found.find("chat", chat(("user", "What is 2 + 2?"), temperature=1)) == Reference(Scorer.NUMBER, ("4",))
    assert found.find("text_completion", b'{"prompt": "What is 2 + 2?"}') is not None
    system = found.find("messages", b'{"system": "Be brief.", "messages": []}')
    assert system is not None
    assert system.texts == ("yes", "yep")


def test_others_are_not() -> None:
    found = read(PROMPT)
    assert found.find("chat", chat(("user", "What is 2 + 3?"))) is None
    assert found.find("chat", chat(("user", "What is 2 + 2?"), ("assistant", "5"))) is None
    assert found.find("chat", b"nonsense") is None


def test_a_digest_stands_for_what_nobody_shall_read() -> None:
    digest = digest_of("user:\nWhat is 2 + 2?")
    found = read({"digest": digest.upper(), "reference": "4", "scorer": "exact"})
    assert found.find("chat", chat(("user", "What is 2 + 2?"))) == Reference(Scorer.EXACT, ("4",))


def test_another_file_or_method_is_another_version_and_another_order_is_not() -> None:
    other = {"prompt": "And 3 + 3?", "reference": "6"}
    version = read(PROMPT, other).version
    assert version == read(other, PROMPT).version
    assert len({version, read(PROMPT).version, read(PROMPT, other, scorer=Scorer.EXACT).version}) == 3
    assert version != read(PROMPT, {**other, "reference": "7"}).version


def test_prompt_sets_for_evaluations_serve_as_they_are() -> None:
    shipped = (Path(__file__).parents[4] / "loadtests" / "scenarios" / "smoke-prompts.jsonl").read_text("utf-8")
    lines = list(map(json.loads, shipped.splitlines()))
    assert all("task" in line for line in lines)
    found = read_references(shipped, Scorer.EXACT)
    assert found.find("chat", json.dumps({"messages": lines[0]["messages"]}).encode()) is not None
    assert read(PROMPT | {"feature": "sums", "task": "add"}).version == read(PROMPT).version


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: "),
        ('{"prompt": "a"}', "line 2: .*reference"),
        ('{"prompt": "a", "reference": "b", "odd": 1}', "line 2: .*odd"),
        ('{"prompt": "a", "reference": "b", "scorer": "taste"}', "line 2: .*taste"),
        ('{"prompt": "a", "reference": " "}', "line 2: a reference needs a text"),
        ('{"reference": "b"}', "line 2: needs one of"),
        ('{"prompt": "a", "digest": "b", "reference": "c"}', "line 2: needs one of"),
        ('{"prompt": "", "reference": "c"}', "line 2: nothing is asked"),
    ],
)
def test_a_line_that_is_wrong_is_named(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_references(json.dumps(PROMPT) + "\n" + line, Scorer.EXACT)


def test_an_empty_file_is_none() -> None:
    with pytest.raises(ValueError, match="no reference"):
        read_references("\n \n", Scorer.EXACT)
