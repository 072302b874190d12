"""A gateway with a shadow sample, for the tests of shadow calls."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from time import perf_counter

from gateway.metrics import Metrics
from gateway.pairs import PairQueue
from gateway.quotas import Quotas
from gateway.shadow import Shadows
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import BUCKETS, FeatureFlag, Shadow, UnitKind
from rollout.core.quota import QuotaGrant, grant

CHAT = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}
ALL = Shadow(BUCKETS, "", 1_000, 8)
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


def said(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"content": text}}], "usage": USAGE})


class Windows:
    """A store of quotas in memory."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}

    async def lease_quota(self, asks) -> list[QuotaGrant]:
        grants = []
        for ask in asks:
            grants.append(grant(self.used.get((ask.name, ask.window), 0), ask))
            self.used[ask.name, ask.window] = grants[-1].used
        return grants


class World:
    """A gateway whose feature has a shadow sample, and what has come of it."""

    def __init__(self, gateway, quotas: Quotas, sink) -> None:
        self.gateway, self.quotas, self.metrics = gateway, quotas, Metrics()
        relay = gateway.relay
        self.pairs = PairQueue()
        self.told: Counter[tuple[str, int, str, bool]] = Counter()
        self.shadows = Shadows(
            snapshot=lambda: self.snapshot,
            upstreams=relay.upstreams,
            door=relay.door,
            metrics=self.metrics,
            sink=self.pairs if sink is None else sink,
        )
        self.shadows.told = self._tell
        relay.snapshot = lambda: self.snapshot
        relay.shadows = self.shadows

    def flag(self, shadow: Shadow = ALL, share: int = 0, **more: object) -> None:
        flag = FeatureFlag(
            feature="draft",
            candidate="inhouse",
            baseline="partner",
            revision=7,
            share_millipct=share,
            bucket_by=UnitKind.USER,
            shadow=shadow,
            **more,
        )
        self.snapshot = compile_snapshot({"draft": flag}, 1)
        self.gateway.relay.sweep(perf_counter())

    def _tell(self, feature: str, revision: int, arm: str, *, answered: bool) -> None:
        self.told[feature, revision, arm, answered] += 1

    async def ask(self, body: object = CHAT, path: str = "/v1/chat/completions", *headers: str):
        caller = await self.gateway.caller()
        caller.post(body, *headers, path=path)
        return await caller.answer()

    async def turn(self, later_s: float = 0.0) -> None:
        """One turn of what goes on in the background."""
        await self.quotas.round()
        self.gateway.relay.sweep(perf_counter() + later_s)
        await asyncio.sleep(0.002)

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self.turn()

    async def settled(self) -> None:
        await self.until(lambda: self.shadows.counts == (0, 0, 0, 0) and self.gateway.held == (0, 0, 0, 0))

    @property
    def ends(self) -> dict[tuple[str, str], int]:
        """Calls by arm and end."""
        return {(arm, end): int(n) for (_, arm, end), n in self.metrics.shadows.calls.series.items()}

    @property
    def skipped(self) -> dict[str, int]:
        return {reason: int(n) for (_, reason), n in self.metrics.shadows.skipped.series.items()}


async def start_world(
    relay_gateway, candidate: int, baseline: int, shadow: Shadow = ALL, share: int = 0, sink=None, **more
) -> World:
    """Ports of both arms; more: as `relay_gateway`."""
    quotas = Quotas(Windows())
    # No time is up but that a test makes pass, however slow the machine.
    patient = {f"{which}_timeout_s": 600 for which in ("connect", "first_byte", "idle", "total", "queue")}
    gateway = await relay_gateway(candidate=candidate, baseline=baseline, quotas=quotas, **{**patient, **more})
    made = World(gateway, quotas, sink)
    made.flag(shadow, share)
    return made


async def never(peer) -> None:
    """An upstream that takes a request and says nothing."""
    await peer.request()
    await peer.request()
