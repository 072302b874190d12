"""The prompts file: one JSON object a line, shared by the load generator and the partner simulator."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.errors import InvalidFileError
from loadtests.strict import read_text


class Message(msgspec.Struct, frozen=True):
    """One chat message of a prompt."""

    role: str
    content: str


class Prompt(msgspec.Struct, frozen=True):
    """A task's input and, when it can be checked, the answer that counts as right."""

    task: str
    messages: tuple[Message, ...]
    reference: str | None = None

    @property
    def question(self) -> str:
        """Return the last user message: what identifies this prompt on any of the OpenAI endpoints."""
        return last_user_text(self.messages)


def last_user_text(messages: Sequence[Message]) -> str:
    """Return the text of the last message with role `user`, stripped; empty when there is none."""
    return next((message.content.strip() for message in reversed(messages) if message.role == "user"), "")


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """Read a prompts JSONL file; raises InvalidFileError naming the line for anything but well-formed prompts."""
    prompts = tuple(
        _read_line(line, f"{path}:{number}")
        for number, line in enumerate(read_text(path).splitlines(), start=1)
        if line.strip()
    )
    if not prompts:
        raise InvalidFileError(f"{path}: holds no prompt", "expected one JSON object per line")
    return prompts


def _read_line(line: str, where: str) -> Prompt:
    hint = 'expected {"task": "...", "messages": [{"role": "user", "content": "..."}], "reference": "..."}'
    try:
        prompt = msgspec.json.decode(line, type=Prompt)
    except msgspec.DecodeError as error:
        raise InvalidFileError(f"{where}: {error}", hint) from None
    if not prompt.question:
        raise InvalidFileError(f"{where}: no user message with text", hint)
    return prompt
