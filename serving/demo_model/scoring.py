"""Exact match of answers with references (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.demo_model.prompts import Prompt


def exact_match(prompts: Sequence[Prompt], answers: Sequence[str]) -> dict[str, float]:
    """Share of right answers per task, 0 to 1; surrounding white space doesn't count.

    Raises ValueError where the two sequences differ in length.
    """
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for prompt, answer in zip(prompts, answers, strict=True):
        asked[prompt["task"]] += 1
        right[prompt["task"]] += answer.strip() == prompt["reference"]
    return {task: round(right[task] / asked[task], 4) for task in asked}
