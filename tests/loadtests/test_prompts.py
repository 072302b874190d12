from pathlib import Path

import pytest

from loadtests.errors import InvalidFileError
from loadtests.prompts import Message, Prompt, last_user_text, read_prompts

GOOD = '{"task": "draft", "messages": [{"role": "user", "content": " hi "}], "reference": "a", "more": 1}'


def test_prompts_are_read_and_blank_lines_skipped(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(GOOD + "\n\n" + GOOD.replace('"reference": "a", ', "") + "\n")
    first, second = read_prompts(path)
    assert first == Prompt("draft", (Message("user", " hi "),), "a")
    assert (first.question, second.reference) == ("hi", None)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"task": "x"}', '{"task": "x", "messages": []}', GOOD.replace("user", "x")]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(InvalidFileError, match=r"p\.jsonl:2") as caught:
        read_prompts(path)
    assert '"messages"' in caught.value.hint


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("\n")
    with pytest.raises(InvalidFileError, match="holds no prompt"):
        read_prompts(path)


def test_the_question_is_the_last_user_message() -> None:
    messages = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"), Message("system", "x"))
    assert last_user_text(messages) == "three"
    assert last_user_text(()) == ""


def test_the_shipped_smoke_prompts_cover_the_three_tasks_with_references() -> None:
    prompts = read_prompts(Path(__file__).parents[2] / "loadtests/scenarios/smoke-prompts.jsonl")
    assert {prompt.task for prompt in prompts} == {"rewrite", "summarize", "draft"}
    assert all(prompt.reference for prompt in prompts)
    assert len({prompt.question for prompt in prompts}) == len(prompts)
