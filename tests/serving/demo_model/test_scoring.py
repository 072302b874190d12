from __future__ import annotations

import pytest

from serving.demo_model.prompts import evaluation_prompts
from serving.demo_model.scoring import exact_match


def test_references_themselves_score_full() -> None:
    prompts = evaluation_prompts(30, 1)
    assert exact_match(prompts, [f" {p['reference']}\n" for p in prompts]) == dict.fromkeys(
        ("rewrite", "summarize", "draft"), 1.0
    )


def test_one_wrong_answer_counts_against_its_task_only() -> None:
    prompts = evaluation_prompts(12, 1)
    answers = [p["reference"] for p in prompts]
    answers[0] = answers[0].replace("a", "o")
    assert exact_match(prompts, answers) == {"rewrite": 0.75, "summarize": 1.0, "draft": 1.0}


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        exact_match(evaluation_prompts(3, 1), ["x"])
