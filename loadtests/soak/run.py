"""One soak: measure the peak, run below it with faults and leaving callers, let all come to rest, audit, judge."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from loadtests.soak.audit import Audit, batches
from loadtests.soak.driver import Orders, drive
from loadtests.soak.plan import Mix, identifier_of
from loadtests.soak.samples import GAUGES
from loadtests.soak.system import KEY, System
from loadtests.soak.verdict import Bounds, Check, Evidence, judge

if TYPE_CHECKING:
    from loadtests.soak.samples import Sample
    from loadtests.soak.tally import Tally

_PR_SET_PDEATHSIG = 1
_SAMPLE_EVERY_S = 1.0
_REST_LIMIT_S = 30.0
_BUSY = tuple(name for name in GAUGES if name not in {"idle", "tasks"})
_FLAP_GOOD, _FLAP_BAD = 3_000, 6


class Plan(NamedTuple):
    """What the operator asks for. `share_of_peak`: rate of the soak; `rate`: calls/s instead of a measured peak."""

    duration_s: float = 600.0
    peak_s: float = 15.0
    share_of_peak: float = 0.7
    workers: int = 1
    drivers: int = 1
    peak_calls: int = 128
    connections: int = 2_000
    seed: int = 1
    rate: float | None = None
    mix: Mix = Mix()
    bounds: Bounds = Bounds()


class Result(NamedTuple):
    """How it went."""

    plan: Plan
    peak: float
    evidence: Evidence
    simulators: list[dict[str, Any]]
    checks: list[Check]

    @property
    def held(self) -> bool:
        """Whether everything did."""
        return all(check.held for check in self.checks)


def faults() -> list[dict[str, Any]]:
    """What each simulator does wrong, about one request in thirty; seconds and rates are small, so that all occur."""
    listed: list[dict[str, Any]] = [
        {"kind": "reset", "rate": 0.003},
        {"kind": "reset_in_body", "rate": 0.002},
        {"kind": "cut_stream", "rate": 0.004},
        {"kind": "clean_cut", "rate": 0.002},
        {"kind": "error_event", "rate": 0.002, "status": 500},
        {"kind": "stall", "rate": 0.001},
        {"kind": "black_hole", "rate": 0.0005},
        {"kind": "status", "rate": 0.003, "status": 429, "retry_after_s": 1},
        {"kind": "status", "rate": 0.003, "status": 500},
        {"kind": "status", "rate": 0.003, "status": 503},
        {"kind": "slow_headers", "rate": 0.004, "delay_s": 0.3},
        {"kind": "slow_body", "rate": 0.002, "delay_s": 0.05},
        {"kind": "close_after", "rate": 0.004},
        {"kind": "status", "status": 503, "good": _FLAP_GOOD, "bad": _FLAP_BAD},
    ]
    return [{**each, "seed": number} for number, each in enumerate(listed)]


def run(plan: Plan) -> Result:
    """Run it all. Raises `SoakError`."""
    with tempfile.TemporaryDirectory(prefix="glidepath-soak-") as folder:
        return asyncio.run(_run(plan, Path(folder)))


async def _run(plan: Plan, folder: Path) -> Result:
    ids_kept = 10_000_000
    concurrent_max = 8 * plan.connections * plan.drivers
    context = multiprocessing.get_context("spawn")
    async with System(folder, plan.workers, ids_kept, concurrent_max) as system:
        with ProcessPoolExecutor(plan.drivers, context, _end_with, (os.getpid(),)) as pool:
            await system.set_share("50%")
            peak = plan.rate / plan.share_of_peak if plan.rate else await _peak(plan, system, pool)
            _say(f"peak {peak:,.0f} calls/s; soak of {plan.duration_s:.0f} s at {peak * plan.share_of_peak:,.0f}/s")
            return await _soak(plan, peak, system, pool)


def _end_with(parent: int) -> None:
    """Have the kernel end this process of callers when the one that asked for it ends, in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


async def _peak(plan: Plan, system: System, pool: ProcessPoolExecutor) -> float:
    """Calls/s of callers that ask again at once, after a second of warming up."""
    await _drive(plan, system, pool, None, 1.0)
    tallies = await _drive(plan, system, pool, None, plan.peak_s)
    return sum(tally.made / tally.seconds for tally in tallies)


async def _soak(plan: Plan, peak: float, system: System, pool: ProcessPoolExecutor) -> Result:
    began_s = time.monotonic()
    before = await _at_rest(system, began_s)
    await system.reset_ledgers()
    await system.set_faults(faults())
    series_before = await system.series()
    samples: list[Sample] = []
    watch = asyncio.create_task(_watch(system, began_s, samples))
    try:
        tallies = await _drive(plan, system, pool, peak * plan.share_of_peak, plan.duration_s)
    finally:
        watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    after = await _at_rest(system, began_s)
    audit = Audit()
    for tally in tallies:
        for numbers in batches(tally):
            audit.take(tally, numbers, await system.marks([identifier_of(tally.run, number) for number in numbers]))
    stats = await system.stats()
    ledgers = [(each["ids"]["arrived"]["count"], each["ids"]["arrived"]["sum"]) for each in stats]
    left_open = sum(each["requests"]["in_flight"] for each in stats)
    evidence = Evidence(
        tallies, audit, before, samples, after, series_before, await system.series(), ledgers, left_open
    )
    return Result(plan, peak, evidence, stats, judge(evidence, plan.bounds))


async def _drive(
    plan: Plan, system: System, pool: ProcessPoolExecutor, rate: float | None, duration_s: float
) -> list[Tally]:
    url = urlsplit(system.gateway_url)
    each = None if rate is None else rate / plan.drivers
    connections = plan.peak_calls // plan.drivers if rate is None else plan.connections
    orders = [
        Orders(
            f"{secrets.token_hex(4)}-{number}", url.hostname or "", url.port or 0, KEY, plan.seed, plan.mix, each,
            connections, duration_s,
        )
        for number in range(plan.drivers)
    ]  # fmt: skip
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(pool, drive, each) for each in orders))


async def _watch(system: System, began_s: float, samples: list[Sample]) -> None:
    """Look once a second, for ever."""
    while True:
        samples.append(await system.sample(began_s))
        await asyncio.sleep(_SAMPLE_EVERY_S)


async def _at_rest(system: System, began_s: float) -> Sample:
    """Wait until nothing is under way and counts have stopped; what is seen then, or at the limit."""
    limit_s = time.monotonic() + _REST_LIMIT_S
    quiet = 0
    while True:
        await asyncio.sleep(_SAMPLE_EVERY_S)
        sample = await system.sample(began_s)
        quiet = 0 if any(sample.gauges[name] for name in _BUSY) else quiet + 1
        # Idle connections to upstreams outlive their last use by some seconds.
        if (quiet > 1 and not sample.gauges["idle"]) or time.monotonic() > limit_s:
            return sample


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
