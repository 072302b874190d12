"""Answers of flags as code, plan and doctor as lines of text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def applied_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Say what a document did, or would: a line a feature, its differences and warnings below."""
    for feature in answer["features"]:
        commands = f" ({', '.join(feature['commands'])})" if feature["commands"] else ""
        yield f"{feature['feature']}: {feature['action']}{commands}, revision {feature['revision']}"
        for change in feature["changes"]:
            yield f"  {_difference(change)}"
        yield from (f"  warning: {each}" for each in feature["warnings"])
    changed = sum(each["action"] != "same" for each in answer["features"])
    if answer["dry_run"]:
        yield f"dry run: {_features(changed)} would change, nothing was written"
    else:
        yield f"{_features(changed)} changed"


def plan_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Say how long a ramp takes."""
    rate = answer["units_per_s"]
    yield f"{answer['feature']}: " + ("traffic unknown" if rate is None else f"at {rate:g} units per second")
    yield from (f"  {step['text']}" for step in answer["steps"])
    if answer["post_monitor_s"]:
        yield f"  then {answer['post_monitor_s']:g} s of monitoring"
    yield f"  {answer['text']}"
    yield from (f"  fault: {each}" for each in answer["faults"])
    yield from (f"  warning: {each}" for each in answer["warnings"])


def doctor_lines(answer: dict[str, Any]) -> Iterator[str]:
    """Say what was looked at, with a hint where something isn't ok."""
    for each in answer["checks"]:
        yield f"{each['result']:<5} {each['check']}: {each['text']}"
        if each["hint"]:
            yield f"      hint: {each['hint']}"


def _difference(change: dict[str, Any]) -> str:
    path, before, after = change["path"], _shown(change["before"]), _shown(change["after"])
    if change["before"] is None:
        return f"+ {path}: {after}"
    if change["after"] is None:
        return f"- {path}: {before}"
    return f"~ {path}: {before} -> {after}"


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _features(count: int) -> str:
    return "1 feature" if count == 1 else f"{count} features"
