"""What a controller saw of a ramp when it last looked: kept beside the flag, so that every replica can show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rollout.core.evidence.names import METRICS
from rollout.core.gates import Verdict
from rollout.core.ramp_model import BEFORE_FIRST, GateMemory, Phase
from rollout.core.ramp_table import Hold

if TYPE_CHECKING:
    from rollout.core.ramp_table import Transition

FRESH_S = 5.0
"""For how long what was kept may go without being written again while nothing but the time has changed."""


_STOPPED = (Phase.PAUSED, Phase.ROLLED_BACK)


class Shown(msgspec.Struct, frozen=True):
    """One look: of which revision, when (`at_s`: Unix time), by whom, and what was found.

    `last`: what the gates of this attempt said last, where a kill or a rollback keeps them from being asked.
    """

    revision: int
    phase: Phase
    step: int = BEFORE_FIRST
    at_s: float = 0.0
    holder: str = ""
    holds: tuple[Hold, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    last: tuple[Verdict, ...] = ()


class _Kept(msgspec.Struct, frozen=True):
    memory: GateMemory = GateMemory()
    shown: Shown | None = None


_DECODER = msgspec.json.Decoder(_Kept)


def shown_of(made: Transition, revision: int, *, at_s: float, holder: str, before: Shown | None = None) -> Shown:
    """Say what a tick found; `revision`: the flag's after it; `before`: what the look before it found."""
    progress = made.progress
    # A query may be long, a store bounds what is kept, and the flag has it anyway.
    verdicts = tuple(each if each.metric in METRICS else replace(each, metric="") for each in made.verdicts)
    return Shown(revision, progress.phase, progress.step, at_s, holder, made.holds, verdicts, _last(made, before))


def _last(made: Transition, before: Shown | None) -> tuple[Verdict, ...]:
    if made.verdicts or before is None or made.progress.phase not in _STOPPED:
        return ()
    began_s = made.progress.ramp_began_s
    return tuple(each for each in before.verdicts or before.last if each.at_s >= began_s)


def encode_memory(memory: GateMemory, shown: Shown | None = None) -> bytes:
    """Encode for a store."""
    return msgspec.json.encode(_Kept(memory, shown))


def decode_memory(raw: bytes | None) -> GateMemory:
    """Decode the gates' memory; what can't be read is as good as none, since it may be lost without harm."""
    return _decode(raw).memory


def decode_shown(raw: bytes | None) -> Shown | None:
    """Decode what a controller saw; None when there is nothing, or nothing that can be read."""
    return _decode(raw).shown


def is_news(before: Shown | None, now: Shown) -> bool:
    """Whether to keep `now`: something but the time has changed, or `before` is FRESH_S old."""
    if before is None or not 0 <= now.at_s - before.at_s < FRESH_S:
        return True
    return (before.revision, before.phase, before.step, before.holder, before.holds) != (
        now.revision,
        now.phase,
        now.step,
        now.holder,
        now.holds,
    ) or _said(before) != _said(now)


def _said(shown: Shown) -> list[tuple[object, ...]]:
    """Verdicts without the times of their measurements."""
    return [(each.gate, each.result, each.value, each.limit, each.samples) for each in shown.verdicts]


def _decode(raw: bytes | None) -> _Kept:
    if raw is None:
        return _Kept()
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return _Kept()
