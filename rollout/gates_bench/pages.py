"""latest.json, and what is made from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.gates_bench import results

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.gates_bench.results import Results


def read(folder: Path) -> Results:
    """What the last run found."""
    return results.decoded((folder / "latest.json").read_bytes())


def write(folder: Path, found: Results) -> None:
    """All files."""
    (folder / "latest.json").write_bytes(results.encoded(found))
