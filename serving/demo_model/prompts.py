"""Evaluation prompts as JSON lines, the form in which load generator and simulator read them."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, TypedDict

from serving.demo_model.tasks import Sample, samples

if TYPE_CHECKING:
    from pathlib import Path

    from serving.demo_model.intents import Task


class Message(TypedDict):
    """An OpenAI chat message."""

    role: str
    content: str


class Prompt(TypedDict):
    """One line of the file: what to send, and the answer that counts as right."""

    task: Task
    messages: list[Message]
    reference: str


def evaluation_prompts(count: int, seed: int) -> list[Prompt]:
    """`count` prompts that no training run has seen, the tasks taking turns."""
    return [as_prompt(drawn) for drawn in islice(samples("evaluation", seed), count)]


def as_prompt(drawn: Sample) -> Prompt:
    """A sample as a caller sends it: one user message."""
    message: Message = {"role": "user", "content": drawn.prompt}
    return {"task": drawn.task, "messages": [message], "reference": drawn.reference}


def write_prompts(path: Path, count: int, seed: int) -> None:
    """Write `count` prompts to `path`, making its folder. Raises OSError where the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in evaluation_prompts(count, seed))
    path.write_text("".join(lines), encoding="utf-8")
