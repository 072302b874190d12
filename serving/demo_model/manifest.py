"""MANIFEST.json beside the shipped weights: what is in each checkpoint, how it was made, how well it does."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from serving.demo_model.errors import DemoModelError

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS: Final = ("good", "worse")
FILE_NAME: Final = "MANIFEST.json"
LICENCE: Final = "Apache-2.0; trained from scratch on synthetic text only"


def build_manifest(weights: Path) -> dict[str, Any]:
    """Digests of every file of both checkpoints, with the training and evaluation records found among them.

    Raises DemoModelError where a checkpoint or its training record is missing.
    """
    return {"licence": LICENCE, "checkpoints": {name: _describe(weights / name) for name in CHECKPOINTS}}


def write_manifest(weights: Path) -> None:
    """Write `weights`/MANIFEST.json for what lies there now."""
    text = json.dumps(build_manifest(weights), indent=2) + "\n"
    (weights / FILE_NAME).write_text(text, encoding="utf-8")


def differences(weights: Path) -> list[str]:
    """Where the files differ from the manifest, a line each; empty when all is as it was shipped.

    Raises DemoModelError where there is no manifest to compare with.
    """
    recorded = _read(weights / FILE_NAME).get("checkpoints", {})
    found: list[str] = []
    for name in CHECKPOINTS:
        expected = recorded.get(name, {}).get("sha256", {})
        actual = _digests(weights / name)
        found += [f"{name}/{f}: missing" for f in sorted(expected.keys() - actual.keys())]
        found += [f"{name}/{f}: not in the manifest" for f in sorted(actual.keys() - expected.keys())]
        found += [f"{name}/{f}: changed" for f in sorted(expected.keys() & actual.keys()) if expected[f] != actual[f]]
    return found


def _describe(directory: Path) -> dict[str, Any]:
    evaluation = directory / "evaluation.json"
    return {
        "bytes": sum(path.stat().st_size for path in directory.glob("*")),
        "training": _read(directory / "training.json"),
        "served_exact_match": _read(evaluation) if evaluation.exists() else None,
        "sha256": _digests(directory),
    }


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        hint = "make the checkpoints with `glidepath serving demo-model train`"
        raise DemoModelError(f"cannot read {path}: {fault}", hint) from fault
    return content
