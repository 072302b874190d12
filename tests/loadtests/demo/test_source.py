from collections import Counter

import pytest

from loadtests.demo.plan import FEATURES, MOVING, PANEL_EVERY, PANEL_SIZE, TASKS
from loadtests.demo.source import Draw, Source
from loadtests.errors import InvalidFileError
from loadtests.prompts import Message, Prompt

PROMPTS = [
    Prompt(task, (Message("user", f"{task} {number}"),), f"{task} answer {number}")
    for task in sorted(set(TASKS.values()))
    for number in range(5)
]


def draws(source: Source, count: int) -> list[Draw]:
    return [source.draw() for _ in range(count)]


def test_every_fresh_request_opens_a_conversation_and_most_are_the_moving_features() -> None:
    drawn = draws(Source(PROMPTS, 1), 2_000)
    assert len({each.request.conversation for each in drawn}) == len(drawn)
    assert not any(each.panel for each in drawn)
    features = Counter(each.feature for each in drawn)
    assert set(features) == set(FEATURES)
    assert 1_050 < features[MOVING] < 1_240
    assert 800 < sum(each.request.stream for each in drawn) < 1_200


def test_another_seed_asks_in_other_conversations() -> None:
    one, other = ({each.request.conversation for each in draws(Source(PROMPTS, seed), 100)} for seed in (1, 2))
    assert not one & other


def test_the_panel_comes_as_often_as_called_among_the_others() -> None:
    source = Source(PROMPTS, 1)
    source.call_panel(2)
    assert source.panel_waiting == 2 * PANEL_SIZE
    drawn = draws(source, 2 * PANEL_SIZE * PANEL_EVERY + 50)
    assert source.panel_waiting == 0
    panel = Counter(each.request.conversation for each in drawn if each.panel)
    assert set(panel.values()) == {2}
    assert len(panel) == PANEL_SIZE
    assert {each.feature for each in drawn if each.panel} == {MOVING}
    fresh = {each.request.conversation for each in drawn if not each.panel}
    assert not fresh & set(panel)


def test_the_panel_is_the_same_at_every_call() -> None:
    source = Source(PROMPTS, 1)
    seen = []
    for _ in range(2):
        source.call_panel(1)
        seen.append({each.request.conversation for each in draws(source, PANEL_SIZE * PANEL_EVERY) if each.panel})
    assert seen[0] == seen[1]


def test_a_feature_is_asked_the_prompts_of_its_task() -> None:
    drawn = draws(Source(PROMPTS, 1), 2_000)
    for feature, task in TASKS.items():
        answers = {prompt.reference for prompt in PROMPTS if prompt.task == task}
        assert {each.request.reference for each in drawn if each.feature == feature} == answers


def test_what_is_dropped_is_asked_no_more_and_the_others_get_its_traffic() -> None:
    source = Source(PROMPTS, 1)
    for feature in FEATURES:
        source.drop(feature)
    drawn = draws(source, 50)
    assert {each.feature for each in drawn} == {MOVING}
    assert len({each.request.conversation for each in drawn}) == 50


def test_a_task_without_prompts_is_refused() -> None:
    with pytest.raises(InvalidFileError, match="draft"):
        Source([prompt for prompt in PROMPTS if prompt.task != "draft"], 1)
