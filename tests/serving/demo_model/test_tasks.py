from __future__ import annotations

import random
import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.demo_model.intents import INTENTS, TASKS, Task
from serving.demo_model.tasks import HELD_OUT_ONE_IN, TURNS, sample, samples, split_of

seeds = st.integers(0, 2**32)
tasks = st.sampled_from(TASKS)


@given(tasks, seeds)
def test_same_seed_same_sample(task: Task, seed: int) -> None:
    assert sample(task, random.Random(seed)) == sample(task, random.Random(seed))


@given(tasks, seeds)
def test_every_fact_of_the_reference_stands_in_the_prompt(task: Task, seed: int) -> None:
    drawn = sample(task, random.Random(seed))
    assert drawn.facts
    for fact in drawn.facts:
        assert fact in drawn.prompt
        assert fact in drawn.reference


@given(tasks, seeds)
def test_numbers_in_the_reference_are_read_off_the_prompt(task: Task, seed: int) -> None:
    drawn = sample(task, random.Random(seed))
    assert set(re.findall(r"\d+", drawn.reference)) <= set(re.findall(r"\d+", drawn.prompt))


@given(tasks, seeds)
def test_no_slot_is_left_unfilled(task: Task, seed: int) -> None:
    drawn = sample(task, random.Random(seed))
    assert not re.search(r"[{}]", drawn.prompt + drawn.reference)


def test_equal_prompts_have_equal_references() -> None:
    references: dict[str, str] = {}
    for drawn in islice(samples("training", 3), 6_000):
        assert references.setdefault(drawn.prompt, drawn.reference) == drawn.reference


@pytest.mark.parametrize("task", TASKS)
def test_all_intents_of_a_task_are_drawn(task: Task) -> None:
    rng = random.Random(0)
    openings = {re.split(r"[{]", intent.reference)[0] for intent in INTENTS[task]}
    references = [sample(task, rng).reference for _ in range(200)]
    assert all(any(r.startswith(opening) for r in references) for opening in openings)


def test_tasks_take_turns_and_prompts_differ() -> None:
    drawn = list(islice(samples("evaluation", 1), 300))
    assert [d.task for d in drawn[:6]] == [*TASKS, *TASKS]
    assert len({d.prompt for d in drawn}) == len(drawn)
    assert [d.task for d in islice(samples("training", 1), 5)] == list(TURNS["training"])


def test_evaluation_prompts_are_unseen_in_training() -> None:
    trained_on = {d.prompt for d in islice(samples("training", 1), 20_000)}
    held_out = {d.prompt for d in islice(samples("evaluation", 7), 900)}
    assert not trained_on & held_out


@given(tasks, seeds)
def test_a_prompt_belongs_to_one_side_whatever_the_seed(task: Task, seed: int) -> None:
    prompt = sample(task, random.Random(seed)).prompt
    assert split_of(prompt) == split_of(str(prompt))
    assert split_of(prompt) in ("training", "evaluation")


def test_about_one_prompt_in_eight_is_held_out() -> None:
    rng = random.Random(0)
    held_out = sum(split_of(sample("draft", rng).prompt) == "evaluation" for _ in range(4_000))
    assert abs(held_out / 4_000 - 1 / HELD_OUT_ONE_IN) < 0.03
