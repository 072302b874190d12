from __future__ import annotations

import re

import pytest

from serving.demo_model.intents import INTENTS, LAYOUTS, TASKS, Intent
from serving.demo_model.vocabulary import LISTS, NUMBERS

SLOT = re.compile(r"\{([a-z]+\d?)\}")
EVERY_INTENT = [pytest.param(i, id=f"{i.task}-{n}") for task in TASKS for n, i in enumerate(INTENTS[task])]


@pytest.mark.parametrize("intent", EVERY_INTENT)
def test_phrasings_of_a_piece_say_the_same(intent: Intent) -> None:
    for phrasings in intent.pieces:
        assert len({frozenset(SLOT.findall(p)) for p in phrasings}) == 1


@pytest.mark.parametrize("intent", EVERY_INTENT)
def test_reference_asks_for_nothing_the_prompt_lacks(intent: Intent) -> None:
    given = {slot for phrasings in intent.pieces for slot in SLOT.findall(phrasings[0])}
    assert set(SLOT.findall(intent.reference)) <= given


@pytest.mark.parametrize("intent", EVERY_INTENT)
def test_slots_are_of_known_kinds(intent: Intent) -> None:
    for text in (*(p for phrasings in intent.pieces for p in phrasings), intent.reference):
        assert {slot.rstrip("2") for slot in SLOT.findall(text)} <= LISTS.keys() | NUMBERS.keys()


def test_every_task_has_intents_and_a_layout() -> None:
    assert set(INTENTS) == set(LAYOUTS) == set(TASKS)
    assert all(intent.task == task for task in TASKS for intent in INTENTS[task])
