"""What a run of the benchmark found, as latest.json holds it."""

from __future__ import annotations

import msgspec

from rollout.gates_bench.plan import Engine
from rollout.gates_bench.report import Beside, Row
from rollout.gates_bench.targets import Target, summary


class Path(msgspec.Struct, frozen=True):
    """The combined e-value of one run, looked at after each batch: (units, log10 E)."""

    scenario: str
    points: tuple[tuple[int, float], ...]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; the rates of `summary` are written beside. `took_s`: with so many `processes`."""

    command: str
    runs: int
    took_s: int
    processes: int
    engine: Engine
    targets: list[Target]
    rows: list[Row]
    rivals: list[Beside]
    paths: list[Path]


def encoded(results: Results) -> bytes:
    """As JSON, the worst rates first."""
    found = summary(results.rows) | msgspec.to_builtins(results)
    return msgspec.json.format(msgspec.json.encode(found)) + b"\n"


def decoded(text: bytes) -> Results:
    """The inverse; msgspec.ValidationError for anything else."""
    return msgspec.json.decode(text, type=Results)
