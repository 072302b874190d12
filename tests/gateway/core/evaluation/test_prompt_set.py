from __future__ import annotations

import json

import pytest

from gateway.core.evaluation import prompt_set
from gateway.core.evaluation.prompt_set import EvaluationError, body_of, read_prompts
from gateway.core.evaluation.scoring import Scorer


def test_both_forms_become_a_chat() -> None:
    text = (
        '{"prompt": "Hello", "reference": "Hi", "feature": "draft", "scorer": "contains"}\n\n'
        '{"messages": [{"role": "system", "content": "B"}, {"role": "user", "content": "Hello"}], "task": "rewrite"}\n'
        '{"prompt": "x", "request": {"max_tokens": 5, "temperature": null}}'
    )
    first, second, third = read_prompts(text, "p.jsonl")
    assert (first.group, first.scorer, first.reference) == ("draft", Scorer.CONTAINS, "Hi")
    assert (second.group, second.scorer, second.turns[0]["role"]) == ("rewrite", None, "system")
    assert third.group == ""
    assert json.loads(body_of(first, "m", {"temperature": 0})) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    sent = json.loads(body_of(third, "m", {"temperature": 0}))
    assert sent["max_tokens"] == 5
    assert "temperature" not in sent


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("\n \n", "holds no prompt"),
        ('{"prompt": "x"}\nnonsense', "p.jsonl:2"),
        ('{"prompt": "x", "refrence": "y"}', "refrence"),
        ('{"reference": "y"}', "either"),
        ('{"prompt": "x", "messages": [{}]}', "either"),
        ('{"messages": []}', "either"),
        ('{"prompt": "x", "request": {"model": "y"}}', "'model'"),
        ('{"prompt": "x", "scorer": "vibes"}', "vibes"),
        ('{"prompt": "\ud800"}', "p.jsonl:1"),
    ],
)
def test_what_is_wrong_is_named(text: str, cause: str) -> None:
    with pytest.raises(EvaluationError, match=cause) as fault:
        read_prompts(text, "p.jsonl")
    assert fault.value.exit_code == 2
    assert fault.value.hint


def test_a_set_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_set, "PROMPTS_MAX", 1)
    with pytest.raises(EvaluationError, match="more than 1"):
        read_prompts('{"prompt": "x"}\n' * 2, "p.jsonl")
