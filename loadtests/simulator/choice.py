"""Whether a request meets a fault: by rate (hashed, so that a run replays), in turn, and at most so often."""

from collections import Counter
from typing import Final

from loadtests.simulator.draws import key_of, uniform
from loadtests.simulator.faults import STREAM_ONLY, Fault, FaultKind
from loadtests.simulator.wire import Ask

_ALWAYS: Final = 1.0
_FAULTS_KEPT: Final = 10_000


class Tally:
    """How often each fault was met so far, and how many requests it could have struck."""

    def __init__(self) -> None:
        self.eligible: Counter[Fault] = Counter()
        self.struck: Counter[Fault] = Counter()

    def bound(self) -> None:
        """Forget all when requests brought very many different faults of their own."""
        if len(self.eligible) > _FAULTS_KEPT:
            self.eligible.clear()
            self.struck.clear()


def strikes(fault: Fault, ask: Ask, repetition: int, tally: Tally, nth: int = 0) -> bool:
    """Return whether `fault` strikes this request, the `nth` (from 0) of its connection; the tally is kept."""
    if not applies(fault, ask, nth) or (fault.limit is not None and tally.struck[fault] >= fault.limit):
        return False
    tally.bound()
    turn = tally.eligible[fault]
    tally.eligible[fault] += 1
    if fault.bad and turn % (fault.good + fault.bad) < fault.good:
        return False
    if fault.rate < _ALWAYS and uniform(_key(fault, ask, repetition), 0) >= fault.rate:
        return False
    tally.struck[fault] += 1
    return True


def applies(fault: Fault, ask: Ask, nth: int) -> bool:
    """Return whether `fault` can strike such a request at all: a stale connection is one that was used before."""
    if fault.model not in (None, ask.model) or fault.api not in (None, ask.api):
        return False
    if fault.kind is FaultKind.STALE and not nth:
        return False
    return ask.stream or fault.kind not in STREAM_ONLY


def _key(fault: Fault, ask: Ask, repetition: int) -> int:
    return key_of(fault.seed, f"{fault.kind}\0{ask.question}", repetition)
