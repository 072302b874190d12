import json
from collections import Counter
from itertools import islice

import pytest

from loadtests.errors import InvalidFileError
from loadtests.prompts import Message, Prompt
from loadtests.workload import Mix, PlannedRequest, exact_match, requests_of

PROMPTS = [
    Prompt(task, (Message("user", f"{task} {number}"),), f"answer {number}")
    for task in ("rewrite", "summarize", "draft")
    for number in range(5)
]


def first(count: int, user: int = 0, mix: Mix | None = None, seed: int = 1) -> list[PlannedRequest]:
    return list(islice(requests_of(user, PROMPTS, mix or Mix(), seed), count))


def test_a_sequence_replays_and_differs_by_user_and_seed() -> None:
    assert first(50) == first(50)
    assert first(50) != first(50, user=1)
    assert first(50) != first(50, seed=2)


def test_a_conversation_has_its_turns_one_feature_and_one_user() -> None:
    requests = first(30, mix=Mix(turns=3))
    assert set(Counter(request.conversation for request in requests).values()) == {3}
    assert len({(request.conversation, request.feature) for request in requests}) == 10
    assert len({request.user for request in requests}) == 1


def test_users_never_share_a_conversation() -> None:
    mine, others = first(90), first(90, user=1)
    assert not {request.conversation for request in mine} & {request.conversation for request in others}


def test_a_body_is_what_openai_takes() -> None:
    streamed, single = first(1, mix=Mix(stream_ratio=1)), first(1, mix=Mix(stream_ratio=0, max_tokens=9))
    body = json.loads(streamed[0].body)
    assert body["model"] == streamed[0].feature
    assert body["stream_options"] == {"include_usage": True}
    assert body["user"] == streamed[0].user
    assert json.loads(single[0].body)["max_tokens"] == 9
    assert "stream_options" not in json.loads(single[0].body)


def test_weights_and_stream_ratio_are_kept() -> None:
    requests = first(3000, mix=Mix(tasks={"rewrite": 3, "draft": 1}, stream_ratio=0.2, turns=1))
    share = Counter(request.feature for request in requests)["copilot/rewrite"] / 3000
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / 3000) ** 0.5
    assert abs(sum(request.stream for request in requests) / 3000 - 0.2) < 4 * (0.2 * 0.8 / 3000) ** 0.5


def test_a_task_without_prompts_is_refused_at_once() -> None:
    with pytest.raises(InvalidFileError, match="translate") as caught:
        requests_of(0, PROMPTS, Mix(tasks={"translate": 1}), 1)
    assert "draft, rewrite, summarize" in caught.value.hint


@pytest.mark.parametrize(
    ("answer", "reference", "right"), [(" a\n", "a", True), ("A", "a", False), ("", "a", False), ("a", None, None)]
)
def test_exact_match(*, answer: str, reference: str | None, right: bool | None) -> None:
    assert exact_match(answer, reference) is right
