"""Kept texts as lines for training: preference pairs, rated answers. In the conversational shape that trainers read.

A preference is {"prompt": messages, "chosen": messages, "rejected": messages, ...}, an answer {"messages": messages,
"rating": 0 to 1, ...}. Who found it so is in `source`; ties are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.keeping import Mark, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.core.keeping import Line, Side, Texts

MARKS_MAX = 500_000
"""Of one feature; about 200 bytes of memory each. Later ones are left out."""
_EVEN = 0.5
_ENCODE = msgspec.json.Encoder().encode


class Preference(msgspec.Struct, frozen=True):
    """`version`: the judge's, empty for people; `votes`: people for the chosen one and for the rejected one."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    source: str
    version: str
    chosen_model: str
    rejected_model: str
    votes: tuple[int, int] | None
    feature: str
    revision: int
    id: str
    at_s: float


class Rated(msgspec.Struct, frozen=True):
    """`kind`: of the feedback: rating, accepted or score, all of them in [0, 1]."""

    messages: tuple[Message, ...]
    rating: float
    kind: str
    source: str
    model: str
    feature: str
    revision: int
    id: str
    at_s: float


def marks_of(lines: Iterable[Line], source: str) -> dict[tuple[str, str], Mark]:
    """The last mark of that source by id and name."""
    found: dict[tuple[str, str], Mark] = {}
    for line in lines:
        if not isinstance(line, Mark) or line.source != source:
            continue
        key = (line.id, line.name)
        before = found.get(key)
        if before is None and len(found) >= MARKS_MAX:
            continue
        if before is None or before.at_s <= line.at_s:
            found[key] = line
    return found


def preferences(
    texts: Iterable[Texts], judged: Mapping[tuple[str, str], Mark], voted: Mapping[str, tuple[int, int]]
) -> Iterator[bytes]:
    """Lines, one for each source that prefers one answer. `voted`: see `rollout.core.votes.majorities`."""
    by_id: dict[str, list[Mark]] = {}
    for mark in judged.values():
        by_id.setdefault(mark.id, []).append(mark)
    for each in texts:
        for mark in by_id.get(each.id, ()):
            if mark.value != _EVEN:
                yield from _preference(each, "judge", mark.version, None, candidate=mark.value > _EVEN)
        votes = voted.get(each.id)
        if votes is not None:
            ours, theirs = votes
            yield from _preference(each, "arena", "", (max(votes), min(votes)), candidate=ours > theirs)


def rated(texts: Iterable[Texts], ratings: Mapping[tuple[str, str], Mark]) -> Iterator[bytes]:
    """Lines, one for each rating of an answer that was kept."""
    by_id: dict[str, list[Mark]] = {}
    for mark in ratings.values():
        by_id.setdefault(mark.id, []).append(mark)
    for each in texts:
        answer = each.answer
        if answer is not None:
            for mark in by_id.get(each.id, ()):
                yield _line(_rated(each, answer, mark))


def _rated(texts: Texts, answer: Side, mark: Mark) -> Rated:
    return Rated(
        (*texts.messages, Message("assistant", answer.text)),
        mark.value,
        mark.name,
        mark.source,
        answer.upstream,
        texts.feature,
        texts.revision,
        texts.id,
        texts.at_s,
    )


def _preference(
    texts: Texts, source: str, version: str, votes: tuple[int, int] | None, *, candidate: bool
) -> Iterator[bytes]:
    if texts.candidate is None or texts.baseline is None or texts.candidate.text == texts.baseline.text:
        return
    chosen, rejected = (texts.candidate, texts.baseline) if candidate else (texts.baseline, texts.candidate)
    yield _line(
        Preference(
            texts.messages,
            (Message("assistant", chosen.text),),
            (Message("assistant", rejected.text),),
            source,
            version,
            chosen.upstream,
            rejected.upstream,
            votes,
            texts.feature,
            texts.revision,
            texts.id,
            texts.at_s,
        )
    )


def _line(value: Preference | Rated) -> bytes:
    return _ENCODE(value) + b"\n"
