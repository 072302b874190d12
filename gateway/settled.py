"""What a worker still knows of settled requests, for operators: the answers, and all that was no answer of a feature.

A Record takes about 0.5 to 0.8 KB here, so what this adds to the index of answers is bounded by some 12 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.outcome import Record
    from gateway.feedback import AnswerIndex, Scores

OTHERS_MAX = 20_000
STRANGERS_MAX = 2_000


class Settled:
    """Recent requests by id, whoever made them.

    Those without a valid key have a small place of their own: whoever has none can't push out those who have.
    """

    def __init__(
        self, answers: AnswerIndex, started_at_s: float, *, others_max: int = OTHERS_MAX, strangers: int = STRANGERS_MAX
    ) -> None:
        """`started_at_s`: Unix time since when this worker has served."""
        self._answers = answers
        self._started_at_s = started_at_s
        self._others, self._strangers = Recent(others_max), Recent(strangers)

    @property
    def complete_since_s(self) -> float:
        """Every request with a valid key that was settled later (Unix time) by this worker is known."""
        return max(self._started_at_s, self._answers.complete_since_s, self._others.complete_since_s)

    def add_other(self, record: Record) -> None:
        """Remember a request that is not in the index of answers: refused, given up unasked, or of no feature."""
        (self._others if record.tenant else self._strangers).add(record)

    def find(self, request_id: str) -> tuple[Record, ...]:
        """Give the requests of that id, newest first; several if callers chose the same one."""
        places = (self._answers.find_all(request_id), self._others.find(request_id), self._strangers.find(request_id))
        return tuple(sorted((each for place in places for each in place), key=lambda each: -each.at_s))

    def give_away(self, count: int) -> Iterator[tuple[tuple[Record, ...], Scores]]:
        """As `AnswerIndex.give_away`, for all there is."""
        yield from self._answers.give_away(count)
        for place in (self._others, self._strangers):
            for records in place.give_away(count):
                yield records, ()

    def receive(self, records: tuple[Record, ...], scores: Scores) -> None:
        """As `AnswerIndex.receive`, for all there is."""
        answers = tuple(each for each in records if is_answer(each))
        self._answers.receive(answers, scores)
        for each in records:
            if not is_answer(each):
                (self._others if each.tenant else self._strangers).receive(each)


def is_answer(record: Record) -> bool:
    """Whether feedback may come for it: a feature's request that an upstream was asked for."""
    return record.attempts > 0 and record.feature != ""
