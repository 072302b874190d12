"""The processes of a soak: a gateway between two simulators, and what they can be asked over HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any, Self

import httpx2

from loadtests.demo.child import Child, Command
from loadtests.demo.death import explain
from loadtests.errors import LoadTestError
from loadtests.soak.audit import Mark
from loadtests.soak.plan import KEPT, LEFT
from loadtests.soak.samples import Sample, Series, children_of, gauges_of, series_of, together, usage_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

KEY = "gp-soak"
_START_S = 60.0
_STOP_S = 20.0
_POLL_S = 0.05
_LATENCY = (
    *("--ttft-median-s", "0.02", "--ttft-sigma", "0.35"),
    *("--inter-token-median-s", "0.002", "--inter-token-sigma", "0.25"),
)
_CONFIG = """\
[server]
port = 0
workers = {workers}
[admin]
port = 0
[store]
url = "sqlite:///{folder}/glidepath.db"
state_dir = "{folder}/state"
[tenant_defaults]               # a permit that is not given back is missed before long
concurrent_max = {concurrent_max}
[upstreams.inhouse]
kind = "vllm"
base_urls = ["{candidate}"]
model = "candidate-sim"
first_byte_timeout_s = 2
idle_timeout_s = 2
[upstreams.partner]
kind = "openai"
base_urls = ["{baseline}"]
model = "baseline-sim"
first_byte_timeout_s = 2
idle_timeout_s = 2
[features.{kept}]
candidate = "inhouse"
baseline = "partner"
[features.{left}]
candidate = "inhouse"
baseline = "partner"
"""


class SoakError(LoadTestError):
    """A soak that cannot go on."""


class System:
    """An async context manager: started, and stopped in the end."""

    def __init__(self, folder: Path, workers: int, ids_kept: int, concurrent_max: int) -> None:
        self._folder, self._workers = folder, workers
        self._ids_kept, self._concurrent_max = ids_kept, concurrent_max
        self._children: list[Child] = []
        self._simulators: list[str] = []
        self.gateway_url = self._admin_url = ""
        self._http = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {KEY}"}, timeout=httpx2.Timeout(60), trust_env=False
        )

    async def __aenter__(self) -> Self:
        """Start everything. Raises `SoakError`."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, in order."""
        await self._stop()

    def processes(self) -> tuple[int, list[int]]:
        """Process ids of the supervisor and its workers."""
        supervisor = self._children[-1].pid
        return supervisor, children_of(supervisor)

    async def series(self) -> list[Series]:
        """The gateway's page of metrics."""
        return series_of((await self._ask("GET", f"{self._admin_url}/metrics")).text)

    async def sample(self, began_s: float) -> Sample:
        """One look at the gateway."""
        series = await self.series()
        supervisor, workers = self.processes()
        return Sample(
            time.monotonic() - began_s, usage_of(supervisor), together(map(usage_of, workers)), gauges_of(series)
        )

    async def set_share(self, share: str) -> None:
        """Move both features to this share."""
        for feature in (KEPT, LEFT):
            place = f"{self._admin_url}/api/v1/features/{feature}"
            revision = (await self._ask("GET", place)).headers["etag"]
            body = {"share": share, "reason": "soak"}
            await self._ask("PUT", f"{place}/share", json=body, headers={"if-match": revision})

    async def set_faults(self, faults: Sequence[dict[str, Any]]) -> None:
        """Have both simulators show these faults."""
        for origin in self._simulators:
            await self._ask("POST", f"{origin}/simulator/faults", json={"faults": list(faults)})

    async def reset_ledgers(self) -> None:
        """Have both simulators forget what they counted."""
        for origin in self._simulators:
            await self._ask("POST", f"{origin}/simulator/reset")

    async def stats(self) -> list[dict[str, Any]]:
        """What each simulator counted."""
        return [(await self._ask("GET", f"{origin}/simulator/stats")).json() for origin in self._simulators]

    async def marks(self, ids: list[str]) -> list[Mark]:
        """What both simulators together have on each of these ids."""
        found = [Mark(0, 0, 0)] * len(ids)
        for origin in self._simulators:
            answer = await self._ask("POST", f"{origin}/simulator/tallies", json={"ids": ids})
            pairs = zip(found, answer.json()["tallies"], strict=True)
            found = [
                Mark(*(own + its for own, its in zip(mark, (more[0], more[1], more[3]), strict=True)))
                for mark, more in pairs
            ]
        return found

    async def _start(self) -> None:
        for arm in ("candidate", "baseline"):
            config = self._folder / f"{arm}.toml"
            config.write_text(f'models = ["{arm}-sim"]\nids_kept = {self._ids_kept}\n', encoding="utf-8")
            arguments = ("simulator", "--port", "0", "--config", str(config), *_LATENCY)
            (origin,) = await self._run(arm, arguments, r"READY (http://[\d.:]+)")
            self._simulators.append(origin)
        candidate, baseline = (f"{origin}/v1" for origin in self._simulators)
        config = self._folder / "glidepath.toml"
        text = _CONFIG.format(
            workers=self._workers, folder=self._folder, candidate=candidate, baseline=baseline, kept=KEPT, left=LEFT,
            concurrent_max=self._concurrent_max,
        )  # fmt: skip
        config.write_text(text, encoding="utf-8")
        self.gateway_url, self._admin_url = await self._run(
            "gateway", ("gateway", "--config", str(config)), r"gateway (http://[\d.:]+)/v1  operator (http://\S+)"
        )

    async def _run(self, name: str, arguments: Sequence[str], ready: str) -> tuple[str, ...]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GLIDEPATH_")}
        environment |= {"GLIDEPATH_BOOTSTRAP_KEY": KEY, "PYTHONUNBUFFERED": "1"}
        log = self._folder / f"{name}.log"
        child = Child(Command(name, arguments, environment, signal.SIGTERM, _STOP_S), log)
        self._children.append(child)
        limit_s = time.monotonic() + _START_S
        while time.monotonic() < limit_s:
            found = re.search(ready, log.read_text("utf-8", "replace"))
            if found:
                return found.groups()
            if child.exit_code is not None:
                raise SoakError(*explain(name, child.exit_code, child.tail(20), str(log)))
            await asyncio.sleep(_POLL_S)
        raise SoakError(f"{name} is not ready within {_START_S:.0f} s", f"see {log}")

    async def _stop(self) -> None:
        await self._http.aclose()
        for child in reversed(self._children):
            await child.stop()

    async def _ask(self, method: str, url: str, **options: Any) -> httpx2.Response:  # noqa: ANN401  the client's own
        try:
            answer = await self._http.request(method, url, **options)
        except httpx2.RequestError as fault:
            raise SoakError(f"no answer from {url}: {fault or type(fault).__name__}", "see the logs") from None
        if not answer.is_success:
            raise SoakError(f"{method} {url}: {answer.status_code} {answer.text[:200]}", "see the logs")
        return answer
