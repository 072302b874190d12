"""A set of prompts as JSONL, and each of them as a chat request."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.evaluation.scoring import Scorer

PROMPTS_MAX = 100_000
_OWN = frozenset({"model", "messages", "stream", "stream_options"})


class EvaluationError(Exception):
    """The run can't be made, or not go on: a set that can't be read, an arm that lets nobody in."""

    exit_code = 2

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause, self.hint = cause, hint


class EvalPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line: `messages` of a chat, or a `prompt` that stands for one message of a user.

    `reference`: the right answer, scored by `scorer`. `feature` (or `task`): a group of its own in the report.
    `request`: further members of the request (response_format, max_tokens, ...); null takes one of ours away.
    """

    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    reference: str | None = None
    scorer: Scorer | None = None
    feature: str | None = None
    task: str | None = None
    request: dict[str, Any] = {}

    @property
    def group(self) -> str:
        """Its feature, "" for none."""
        return self.feature or self.task or ""

    @property
    def turns(self) -> list[dict[str, Any]]:
        """Its messages."""
        return [{"role": "user", "content": self.prompt}] if self.messages is None else self.messages


_DECODE = msgspec.json.Decoder(EvalPrompt).decode


def read_prompts(text: str, source: str) -> tuple[EvalPrompt, ...]:
    """The prompts of a JSONL text. `source`: its name, for errors. Raises `EvaluationError` that names the line."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise EvaluationError(f"{source} holds no prompt", "give one JSON object a line")
    if len(lines) > PROMPTS_MAX:
        raise EvaluationError(f"{source} holds more than {PROMPTS_MAX} prompts", "take a sample of them")
    return tuple(_prompt(line, f"{source}:{number}") for number, line in lines)


def body_of(prompt: EvalPrompt, model: str, settings: dict[str, Any]) -> bytes:
    """The chat request, streamed. `settings`: of all requests, such as temperature; a prompt's own win."""
    members = settings | prompt.request
    ours = {
        "model": model,
        "messages": prompt.turns,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return msgspec.json.encode(ours | {name: value for name, value in members.items() if value is not None})


def _prompt(line: str, where: str) -> EvalPrompt:
    hint = 'as {"prompt": "...", "reference": "..."} or {"messages": [{"role": "user", "content": "..."}]}'
    try:
        prompt = _DECODE(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        raise EvaluationError(f"{where}: {fault}", hint) from None
    if (prompt.messages is None) == (prompt.prompt is None) or prompt.messages == []:
        raise EvaluationError(f"{where}: needs either `messages` or `prompt`", hint)
    if taken := _OWN & prompt.request.keys():
        raise EvaluationError(f"{where}: `request` may not hold {min(taken)!r}", "it is what both arms are asked with")
    return prompt
