"""Named checks of one client, run one after the other; the results go to stdout as JSON.

Runs in the client's own environment, so it uses the standard library alone. Where the client talks to, and as whom,
comes in by environment variables; faults are asked for in the prompt, which a gateway passes on.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_URL = os.environ.get("CLIENT_BASE_URL", "")
API_KEY = os.environ.get("CLIENT_API_KEY", "")
MODEL = os.environ.get("CLIENT_MODEL", "")
# Whether the simulator is spoken to directly: some faults are a gateway's to hide.
DIRECT = os.environ.get("CLIENT_DIRECT") == "1"
_CHECKS: dict[str, tuple[Callable[[], Any], bool]] = {}
_faults = iter(range(1_000_000))


def check(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a function, plain or async, as a check; it raises when the client does not do as expected."""
    _CHECKS[function.__name__] = (function, False)
    return function


def direct_only(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a check of what a gateway answers otherwise than its upstream."""
    _CHECKS[function.__name__] = (function, True)
    return function


def faulty(kind: str, prompt: str = "say something", **figures: object) -> str:
    """Return a prompt that asks the simulator for a fault; each call's fault has a limit of its own."""
    fault = {"kind": kind, "seed": os.getpid() * 1000 + next(_faults), **figures}
    return f"{prompt} [[fault:{json.dumps(fault)}]]"


def raised(kind: type[BaseException], call: Callable[[], Any], *, exactly: bool = True) -> Any:
    """Return the exception of that kind (not of a kind derived from it, if `exactly`) that `call` raises."""
    try:
        call()
    except kind as error:
        if exactly and type(error) is not kind:
            raise AssertionError(f"{type(error).__name__} instead of {kind.__name__}") from error
        return error
    raise AssertionError(f"no {kind.__name__}")


def main() -> None:
    """Run all checks that concern this target and write their results."""
    results = []
    for name, (function, needs_direct) in _CHECKS.items():
        if needs_direct and not DIRECT:
            continue
        problem = None
        try:
            outcome = function()
            if inspect.iscoroutine(outcome):
                import asyncio  # noqa: PLC0415  few checks need it

                asyncio.run(outcome)
        except Exception:  # noqa: BLE001  whatever it is, it is this check's result
            problem = traceback.format_exc()
        results.append({"name": name, "problem": problem})
    sys.stdout.write(json.dumps({"results": results}) + "\n")
