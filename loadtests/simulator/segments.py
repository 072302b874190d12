"""Faults of segmentation: what is written is right, but in other portions; or it ends within the head. Pure."""

from collections.abc import Callable
from typing import Final

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.reply import End, Script, Write

Change = Callable[[Script, Fault], Script]

_HEAD_END: Final = b"\r\n\r\n"
_HEAD_BYTES: Final = 24


def _in_head(end: End) -> Change:
    def change(script: Script, _: Fault) -> Script:
        first = script.writes[0]
        return Script((first._replace(data=first.data[:_HEAD_BYTES], pieces=0),), end, whole=False)

    return change


def _drip(script: Script, fault: Fault) -> Script:
    return script._replace(writes=_one_by_one(script.writes, fault.gap_s))


def _drip_headers(script: Script, fault: Fault) -> Script:
    head, body = _parted(script.writes)
    dripped = _one_by_one((head,), fault.gap_s)
    late_s = dripped[-1].due_s - head.due_s
    return script._replace(writes=(*dripped, *(write._replace(due_s=write.due_s + late_s) for write in body)))


def _split(script: Script, fault: Fault) -> Script:
    """Part the body, as it is on the wire, in two at one byte; what is due later stays due later."""
    head, body = _parted(script.writes)
    kept: list[Write] = [head]
    left = fault.split_at
    late_s = 0.0
    for write in body:
        if 0 <= left < len(write.data):
            kept.append(Write(write.due_s, write.data[:left], write.pieces))
            late_s = fault.gap_s
            kept.append(Write(write.due_s + late_s, write.data[left:], 0))
            left = -1
        else:
            kept.append(write._replace(due_s=write.due_s + late_s))
            left -= len(write.data) if left >= 0 else 0
    return script._replace(writes=tuple(write for write in kept if write.data))


def _parted(writes: tuple[Write, ...]) -> tuple[Write, tuple[Write, ...]]:
    """Return the head, and all of the body."""
    first = writes[0]
    end = first.data.index(_HEAD_END) + len(_HEAD_END)
    rest = Write(first.due_s, first.data[end:], first.pieces)
    return Write(first.due_s, first.data[:end], 0), (*((rest,) if rest.data else ()), *writes[1:])


def _one_by_one(writes: tuple[Write, ...], gap_s: float) -> tuple[Write, ...]:
    found: list[Write] = []
    due_s = 0.0
    for write in writes:
        due_s = max(due_s, write.due_s)
        for index in range(len(write.data)):
            last = index == len(write.data) - 1
            found.append(Write(due_s, write.data[index : index + 1], write.pieces if last else 0))
            due_s += gap_s
    return tuple(found)


CHANGES: Final[dict[FaultKind, Change]] = {
    FaultKind.RESET_IN_HEAD: _in_head(End.RESET),
    FaultKind.CUT_IN_HEAD: _in_head(End.CLOSE),
    FaultKind.DRIP: _drip,
    FaultKind.DRIP_HEADERS: _drip_headers,
    FaultKind.SPLIT: _split,
}
