"""Samples of the three tasks: a prompt as an API caller sends it, and the one answer that counts as right.

Training and evaluation never meet: each prompt belongs to one side by its own checksum, whatever the seed.
"""

from __future__ import annotations

import random
import re
import zlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from serving.demo_model.intents import INTENTS, LAYOUTS, TASKS, Intent, Task
from serving.demo_model.vocabulary import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

Split = Literal["training", "evaluation"]
HELD_OUT_ONE_IN: Final = 8
# Rewriting is learned soonest; less of it in training keeps the three tasks level in an early checkpoint.
TURNS: Final[dict[Split, tuple[Task, ...]]] = {
    "training": ("rewrite", "summarize", "draft", "summarize", "draft"),
    "evaluation": TASKS,
}
_SLOT = re.compile(r"\{(([a-z]+)\d?)\}")


class Sample(NamedTuple):
    """`facts`: the values that stand in both the prompt and the reference."""

    task: Task
    prompt: str
    reference: str
    facts: tuple[str, ...]


def sample(task: Task, rng: random.Random) -> Sample:
    """One sample of `task`, a function of the state of `rng` only."""
    intent, layout = rng.choice(INTENTS[task]), LAYOUTS[task]
    pieces = [rng.choice(phrasings) for phrasings in intent.pieces]
    middle = pieces[layout.shuffled]
    pieces[layout.shuffled] = rng.sample(middle, len(middle))
    aside = rng.choice(layout.asides)
    if aside:
        pieces.append(aside)
    values = _values(intent, rng)
    prompt = rng.choice(layout.cues) + layout.separator.join(pieces).format(**values)
    facts = tuple(values[name] for name, _ in _SLOT.findall(intent.reference))
    return Sample(task, prompt, intent.reference.format(**values), facts)


def samples(split: Split, seed: int) -> Iterator[Sample]:
    """Endless samples of one side, the tasks taking turns, no prompt twice."""
    rng = random.Random(f"{split}:{seed}")  # noqa: S311  reproducible data, not secrets
    seen: set[str] = set()
    while True:
        for task in TURNS[split]:
            drawn = sample(task, rng)
            while split_of(drawn.prompt) != split or drawn.prompt in seen:
                drawn = sample(task, rng)
            seen.add(drawn.prompt)
            yield drawn


def split_of(prompt: str) -> Split:
    """Which side a prompt belongs to: one in `HELD_OUT_ONE_IN` is kept for evaluation."""
    return "training" if zlib.crc32(prompt.encode()) % HELD_OUT_ONE_IN else "evaluation"


def _values(intent: Intent, rng: random.Random) -> dict[str, str]:
    text = " ".join((*(phrasings[0] for phrasings in intent.pieces), intent.reference))
    slots = dict(_SLOT.findall(text))
    return dict(zip(slots, draw(list(slots.values()), rng), strict=True))
