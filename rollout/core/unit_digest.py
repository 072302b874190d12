"""A stable 63-bit hash of a unit: what evidence knows it by, so that no store holds who it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmh3 import mmh3_x64_128_stupledigest

from rollout.core.model import UnitKind

if TYPE_CHECKING:
    from collections.abc import Callable

_MASK = 2**63 - 1
_SEED = 0x51F0


def digester(salt: str) -> Callable[[UnitKind, str], int]:
    """Make the function (kind, unit) -> 1 .. 2**63 - 1 for one salt.

    Another function than the bucket's: what is chosen by digest says nothing of the arm.
    """
    prefixes = {kind: b"%b\0%b\0" % (salt.encode(), kind.value.encode()) for kind in UnitKind}

    def digest(kind: UnitKind, unit: str) -> int:
        return mmh3_x64_128_stupledigest(prefixes[kind] + unit.encode(), _SEED)[0] & _MASK or 1

    return digest
