"""What is done to simulated candidates: one fault for each model, in force from its injection to the end."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx2

from loadtests.demo.errors import DemoError
from loadtests.demo.layout import TRIALS, trial_model
from loadtests.demo.plan import BREAKING, SLOWED_BY_S, SLOWING

_LIMIT_S: Final = 60.0
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    BREAKING: {"kind": "status", "status": 503},
    SLOWING: {"kind": "slow_headers", "delay_s": SLOWED_BY_S},
}
"""By feature, as the simulator's control path takes them."""


class Injection:
    """Tells one simulator of faults; those told before stay in force."""

    def __init__(self, simulator_url: str, log: Path | None = None) -> None:
        """`log`: the simulator's, for hints."""
        self._hint = "see the simulator's log" + ("" if log is None else f", {log}")
        self._url = f"{simulator_url}/simulator/faults"
        self._faults: list[Mapping[str, Any]] = []
        # A list replaces the one before it, so they must arrive in their order.
        self._turn = asyncio.Lock()

    async def harm(self, feature: str) -> None:
        """Have a feature's candidate misbehave from now on. Raises DemoError."""
        async with self._turn:
            self._faults.append({**FAULTS[feature], "model": trial_model(TRIALS[feature])})
            try:
                async with httpx2.AsyncClient(timeout=_LIMIT_S, trust_env=False) as client:
                    (await client.post(self._url, json={"faults": self._faults})).raise_for_status()
            except httpx2.HTTPError as fault:
                cause = f"the simulator can't be told to misbehave: {fault or type(fault).__name__}"
                raise DemoError(cause, self._hint) from None
