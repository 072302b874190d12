"""Who stands behind what a gate says: a line for each gate that has left somebody out, or that is about ratings."""

from __future__ import annotations

from typing import Any


def coverage_line(verdict: dict[str, Any]) -> str:
    """Say it of one verdict, as of the API; empty if all were judged, and ratings are not its matter."""
    coverage = verdict.get("coverage")
    if coverage is None:
        return ""
    arms = [(name, coverage[name]) for name in ("candidate", "baseline")]
    told = [_left_out(coverage, arms), _rated(arms)]
    said = "; ".join(filter(None, told))
    return f"gate {verdict['gate']}: {said}" if said else ""


def _left_out(coverage: dict[str, Any], arms: list[tuple[str, dict[str, Any]]]) -> str:
    if not any(arm["left_out"] for _, arm in arms):
        return ""
    parts = [f"{name} {_of(arm['left_out'], arm['judged'] + arm['left_out'])}" for name, arm in arms]
    what = "failed shadow calls" if coverage["of"] == "shadow calls" else f"{coverage['of']} left out"
    return f"{what}: {', '.join(parts)} (at most {coverage['limit']:.0%})"


def _rated(arms: list[tuple[str, dict[str, Any]]]) -> str:
    parts = [f"{name} {_of(arm['rated'], arm['judged'])}" for name, arm in arms if arm["rated"] is not None]
    return f"rated: {', '.join(parts)}" if parts else ""


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f", {part / whole:.1%}" if whole else "")
