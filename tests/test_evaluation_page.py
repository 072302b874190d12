"""docs/evaluation.md shows a set that can be run, and exit codes as they are."""

import re
from pathlib import Path

from gateway.core.evaluation.prompt_set import read_prompts
from gateway.core.evaluation.scoring import Scorer, is_right
from gateway.evaluation.cli import _EXIT_CODES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
RIGHT = {Scorer.NUMBER: "It is 391.", Scorer.CONTAINS: "Lima.", Scorer.JSON: '{"age": 34, "name": "Ann Lee"}'}


def test_the_set_can_be_read_and_its_references_can_be_met() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    prompts = read_prompts(shown, "evaluation.md")
    assert {prompt.scorer for prompt in prompts} == {None, *RIGHT}
    for prompt in prompts:
        assert prompt.turns[-1]["role"] == "user"
        if prompt.scorer is not None and prompt.reference is not None:
            assert is_right(prompt.scorer, RIGHT[prompt.scorer], prompt.reference)


def test_what_is_shipped_can_be_asked_too() -> None:
    path = "loadtests/scenarios/smoke-prompts.jsonl"
    assert f"](../{path})" in PAGE
    assert {prompt.group for prompt in read_prompts((ROOT / path).read_text("utf-8"), path)} == {
        "rewrite", "summarize", "draft",
    }  # fmt: skip


def test_every_exit_code_has_its_row() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    assert codes == {*_EXIT_CODES.values(), 2}
