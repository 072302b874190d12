"""What is kept of a feature, counted, and in words why nothing of it can be shown or exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.keeping import Texts
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.keeping import Line
    from rollout.core.model import Shadow


class Kept(NamedTuple):
    """How many texts; of them pairs; of those equal letter by letter, and `voted` on, of the others."""

    texts: int = 0
    pairs: int = 0
    equal: int = 0
    voted: int = 0


def count_kept(lines: Iterable[Line], voted: frozenset[str] = frozenset()) -> Kept:
    """Count them. `voted`: the pairs that somebody has voted on."""
    texts = pairs = differing = done = 0
    for line in lines:
        if isinstance(line, Texts):
            texts += 1
            pairs += line.candidate is not None and line.baseline is not None
            differing += differs(line)
            done += differs(line) and line.id in voted
    return Kept(texts, pairs, pairs - differing, done)


def differs(texts: Texts) -> bool:
    """Whether it is a pair of two answers that are not the same."""
    return texts.candidate is not None and texts.baseline is not None and texts.candidate.text != texts.baseline.text


def why_no_pair(kept: Kept, shadow: Shadow, *, spent: bool) -> str:
    """Say why a voter is shown nothing. `spent`: whether the sample's budget of the day is given out."""
    voted = [f"you have voted on {kept.voted}"] if kept.voted else []
    return "; ".join([", ".join([_pairs(kept), *voted]), _to_come(shadow, "pairs", spent=spent)])


def why_no_preference(kept: Kept, shadow: Shadow, *, spent: bool) -> str:
    """Say why no pair has a better answer."""
    open_ones = kept.pairs - kept.equal
    undecided = [f"neither judge nor voters prefer an answer of the other {open_ones}"] if open_ones else []
    return "; ".join([", ".join([_pairs(kept), *undecided]), _to_come(shadow, "pairs", spent=spent)])


def why_no_rating(kept: Kept, shadow: Shadow, *, spent: bool) -> str:
    """Say why no answer has a rating."""
    return "; ".join([f"{kept.texts} answers kept, none rated", _to_come(shadow, "answers", spent=spent)])


def _pairs(kept: Kept) -> str:
    return f"{kept.pairs} pairs kept" + (f", {kept.equal} of them equal" if kept.equal else "")


def _to_come(shadow: Shadow, what: str, *, spent: bool) -> str:
    """Say whether more will come, and if not why."""
    if not getattr(shadow.keep, what):
        return f"the flag keeps no {what} (shadow.keep.{what})"
    if not shadow.millipct:
        return "the flag's shadow sample is 0 %"
    if spent:
        return f"the daily budget of {shadow.daily_budget} shadow calls is given out, more from midnight UTC"
    return f"more come with new requests, of which {format_share(shadow.millipct)} are sampled"
