"""Seeded request sequences: who asks what, in which conversation, streamed or not; and whether an answer was right."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Annotated, Final, NamedTuple

import msgspec

from loadtests.errors import InvalidFileError
from loadtests.prompts import Prompt

PATH: Final = "/chat/completions"


class Mix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the requests are like: weights of the tasks, share of streams, turns of a conversation, token limit."""

    tasks: Mapping[str, Annotated[float, msgspec.Meta(gt=0)]] = msgspec.field(
        default_factory=lambda: {"rewrite": 1.0, "summarize": 1.0, "draft": 1.0}
    )
    feature_prefix: str = "copilot/"
    stream_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    turns: Annotated[int, msgspec.Meta(ge=1)] = 3
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 128


class PlannedRequest(NamedTuple):
    """One request, ready to send to the chat endpoint."""

    feature: str
    conversation: str
    user: str
    stream: bool
    body: bytes
    reference: str | None


def requests_of(user: int, prompts: Sequence[Prompt], mix: Mix, seed: int) -> Iterator[PlannedRequest]:
    """Return the endless sequence of one user's requests; the same arguments always give the same sequence.

    Raises InvalidFileError at once when a task of the mix has no prompt.
    """
    by_task = {task: [prompt for prompt in prompts if prompt.task == task] for task in mix.tasks}
    if missing := [task for task, found in by_task.items() if not found]:
        known = ", ".join(sorted({prompt.task for prompt in prompts}))
        raise InvalidFileError(
            f"no prompt for the task {missing[0]!r}", f"the prompts file has: {known}; change [mix.tasks] or the file"
        )
    return _requests(f"{seed}-{user}", by_task, mix)


def _requests(name: str, by_task: Mapping[str, Sequence[Prompt]], mix: Mix) -> Iterator[PlannedRequest]:
    random = Random(name)  # noqa: S311  a replayable choice of prompts, not a secret
    tasks, weights = list(mix.tasks), list(mix.tasks.values())
    conversation = 0
    while True:
        conversation += 1
        (task,) = random.choices(tasks, weights)
        for _ in range(mix.turns):
            prompt = random.choice(by_task[task])
            stream = random.random() < mix.stream_ratio
            yield _planned(prompt, f"c-{name}-{conversation}", f"u-{name}", mix, stream=stream)


def _planned(prompt: Prompt, conversation: str, user: str, mix: Mix, *, stream: bool) -> PlannedRequest:
    feature = mix.feature_prefix + prompt.task
    body = {
        "model": feature,
        "messages": prompt.messages,
        "temperature": 0,
        "max_tokens": mix.max_tokens,
        "user": user,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    return PlannedRequest(feature, conversation, user, stream, msgspec.json.encode(body), prompt.reference)


def exact_match(answer: str, reference: str | None) -> bool | None:
    """Return whether an answer is the reference but for surrounding white space; None when there is no reference."""
    return None if reference is None else answer.strip() == reference.strip()
