"""Runs that were made are kept: a campaign that is stopped goes on, and one of more runs adds to those there are.

In a folder named after all that results depend on, the source included; whoever changes that begins anew.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rollout import atomic_file
from rollout.core.evidence import (
    counts,
    eprocess,
    error_bets,
    fixed_point,
    pairwise,
    quantile,
    restart,
    rollback,
    sample_ratio,
    score,
)
from rollout.gates_bench import gate, kinds, looks, metrics, oracle, plan, ramp, rivals, scenarios, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

_DECISIONS = (counts, eprocess, error_bets, fixed_point, pairwise, quantile, restart, rollback, sample_ratio, score)
_RUNS = (gate, kinds, looks, metrics, oracle, plan, ramp, rivals, scenarios, traffic)
SOURCES = (*_DECISIONS, *_RUNS)
"""What ramps of units depend on."""


class Kept:
    """Results in files below `folder`; without one nothing is kept."""

    def __init__(self, folder: Path | None, fixed: object, sources: Sequence[ModuleType] = SOURCES) -> None:
        """`fixed`: what results depend on besides `sources`, as JSON can hold it."""
        self._folder = None if folder is None else folder / _fingerprint(fixed, sources)

    def extended(self, name: str, kind: object, wanted: int, make: Callable[[int], Sequence[Any]]) -> list[Any]:
        """The first `wanted` results of `name`, a list of `kind`; `make` gives those from a number on."""
        path = self._path(name)
        there: list[Any] = _decoded(path.read_bytes(), kind) if path and path.is_file() else []
        if len(there) < wanted:
            there += make(len(there))
            if path is not None:
                atomic_file.replace(path, msgspec.json.encode(there))
        return there[:wanted]

    def _path(self, name: str) -> Path | None:
        number = blake2b(name.encode(), digest_size=8).hexdigest()
        return None if self._folder is None else self._folder / f"{number}.json"


def _decoded(text: bytes, kind: Any) -> list[Any]:  # noqa: ANN401  a type of type, as msgspec takes it
    found: list[Any] = msgspec.json.decode(text, type=kind)
    return found


def _fingerprint(fixed: object, sources: Sequence[ModuleType]) -> str:
    text = b"".join(Path(str(module.__file__)).read_bytes() for module in sources)
    return blake2b(text + msgspec.json.encode(fixed), digest_size=8).hexdigest()
