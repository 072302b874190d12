"""Blind side-by-side votes: which pair comes next, which answer stands where, and what a vote then means.

A ticket names the pair and a random number, sealed with a key that only this process has. The sides follow from both,
so the ticket tells a voter nothing, and nobody can vote on what was not shown to them.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway.core.keeping import Texts
from gateway.core.kept_counts import differs
from rollout.core.votes import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.core.keeping import Line

LOOKED_AT_MAX = 5_000
CHOSEN_FROM = 200
"""Pairs that are considered, the newest."""
_SEAL_BYTES = 16
Verdict = Literal["left", "right", "tie", "both_bad", "skip"]


def chosen(
    lines: Iterable[Line], mine: frozenset[str], votes: Mapping[str, int], chance: Callable[[int], int]
) -> Texts | None:
    """One of the pairs that fewest have voted on, None if nothing is left.

    `mine`: those the voter has voted on; `votes`: how many have, by pair; `chance`: n -> one of 0 ... n - 1.
    """
    found: dict[str, Texts] = {}
    for number, line in enumerate(lines):
        if number >= LOOKED_AT_MAX or len(found) >= CHOSEN_FROM:
            break
        if isinstance(line, Texts) and line.id not in mine and differs(line):
            found[line.id] = line
    if not found:
        return None
    fewest = min(votes.get(pair, 0) for pair in found)
    open_ones = [pair for pair in found if votes.get(pair, 0) == fewest]
    return found[open_ones[chance(len(open_ones))]]


def sealed(key: bytes, feature: str, voter: str, pair: str, nonce: str) -> str:
    """The ticket for one showing. `nonce`: hexadecimal, another one each time; `key`: secret, at most 64 bytes."""
    return f"{pair}.{nonce}.{_seal(key, b'seal', feature, voter, pair, nonce).hex()}"


def opened(key: bytes, feature: str, voter: str, ticket: str) -> tuple[str, str] | None:
    """Pair and nonce of a ticket that was sealed for this voter, else None."""
    pair, _, rest = ticket.partition(".")
    nonce, _, _ = rest.partition(".")
    try:
        right = compare_digest(ticket, sealed(key, feature, voter, pair, nonce))
    except TypeError:  # what isn't ASCII is none of ours
        return None
    return (pair, nonce) if right else None


def candidate_is_left(key: bytes, feature: str, voter: str, pair: str, nonce: str) -> bool:
    """Which side the candidate's answer is shown on: a coin for each showing."""
    return bool(_seal(key, b"side", feature, voter, pair, nonce)[0] & 1)


def choice_of(verdict: Verdict, *, candidate_left: bool) -> Choice:
    """What a vote on sides says of the arms."""
    if verdict == "left":
        return Choice.CANDIDATE if candidate_left else Choice.BASELINE
    if verdict == "right":
        return Choice.BASELINE if candidate_left else Choice.CANDIDATE
    return Choice(verdict)


def _seal(key: bytes, use: bytes, *parts: str) -> bytes:
    return blake2b(msgspec.json.encode(parts), digest_size=_SEAL_BYTES, key=key, person=use).digest()
