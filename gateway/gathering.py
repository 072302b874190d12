"""All that gathers evidence, costs and texts in one worker: sinks of what has happened, beside the requests' path."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

from gateway.checking import Checking
from gateway.cluster_collector import ClusterCollector
from gateway.collector import Collector, PaidPairs
from gateway.core import messages as say
from gateway.core.checks.sampling import CheckSample
from gateway.gauges import check_gauges, judge_gauges
from gateway.judges import build_judges
from gateway.pair_collector import PairCollector
from gateway.pricing import pricing
from gateway.spool import PairsKeptToo, ScoresKeptToo, Spool
from gateway.spool_files import SPOOL_FOLDER, SpoolFiles
from gateway.steady_clock import SteadyClock
from gateway.unit_collector import UnitCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.additions import UnitStore
    from gateway.core.admission.leasing import Leasing
    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.core.outcome import Record
    from gateway.judges import Judges
    from gateway.metrics import Metrics
    from gateway.pairs import PairSink
    from gateway.recorder import Sink
    from gateway.scores import ScoreSink
    from gateway.settings import Settings
    from gateway.tenants import Tenants
    from gateway.unit_collector import Requests
    from rollout.follower import Follower

P = ParamSpec("P")


class Surroundings(NamedTuple):
    """What a worker has anyway. `judge_keys`, `proxy_credentials`: what the environment holds, by name."""

    settings: Settings
    store: UnitStore
    follower: Follower
    tenants: Tenants
    leasing: Leasing
    metrics: Metrics
    judge_keys: Mapping[str, str | None]
    proxy_credentials: Mapping[str, str | None]


class Gathering(NamedTuple):
    """`pair_sink`: who gets the pairs of shadow calls. `checking`: None where no answer is checked."""

    collector: Collector
    units: UnitCollector
    clusters: ClusterCollector
    pairs: PairCollector
    judges: Judges
    kept: PairsKeptToo
    pair_sink: PairSink
    checking: Checking | None

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Who wants the Records."""
        return (self.collector, self.units, self.clusters)

    @property
    def take_rating(self) -> Callable[[Record, str, float], None]:
        """Who wants callers' ratings."""
        return each_of(self.units.take_rating, self.clusters.take_rating, self.kept.spool.take_rating)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""
        await asyncio.gather(
            self.collector.run(),
            self.units.run(requests),
            self.clusters.run(requests),
            self.judges.run(),
            self.pairs.run(),
        )

    async def close(self, *, replaced: bool) -> None:
        """Send what was counted last. No judge is asked any more. `replaced`: a successor gets what waits."""
        await self.judges.close()
        await asyncio.gather(
            self.collector.close(),
            self.units.close(handing_over=replaced),
            self.pairs.close(),
            self.clusters.close(handing_over=replaced),
            asyncio.to_thread(self.kept.close),
        )

    def give_away(self, count: int) -> Iterator[say.Handover]:
        """Hand over what waits for its age, at most about `count` at a time. To be called after `close`."""
        for held, flags in self.units.give_away(count):
            yield say.Handover(held=held, flags=flags)
        for handed in self.clusters.give_away(count):
            yield say.Handover(handed=handed)

    def receive(self, message: say.Handover) -> None:
        """Take over what another worker gave away."""
        if message.held:
            self.units.receive(message.held, message.flags)
        if message.handed is not None:
            self.clusters.receive(message.handed)


def build_gathering(around: Surroundings) -> Gathering:
    """Make it; connects to nobody. Raises `SettingsError` for unusable files of judges."""
    spool, collector, pairs = _spool(around), _collector(around), _pairs(around)
    sampled = CheckSample(around.settings.checks.sample_millipct)
    units, clusters = _units(around, sampled)
    judges = _judges(around, ScoresKeptToo(spool, pairs))
    kept = PairsKeptToo(spool, judges)
    checking = _checking(around, sampled, each_of(around.metrics.checking.add, units.take_check, clusters.take_check))
    return Gathering(collector, units, clusters, pairs, judges, kept, PaidPairs(collector, kept), checking)


def each_of(*sinks: Callable[P, None]) -> Callable[P, None]:
    """One sink that stands for several."""

    def take(*given: P.args, **named: P.kwargs) -> None:
        for sink in sinks:
            sink(*given, **named)

    return take


def _spool(around: Surroundings) -> Spool:
    files = SpoolFiles(Path(around.settings.store.state_dir) / SPOOL_FOLDER)
    spool = Spool(files, around.settings.spool, lambda: around.follower.snapshot, around.tenants)
    around.metrics.follow(around.metrics.shadows.kept, lambda: spool.written)
    around.metrics.follow(around.metrics.shadows.not_kept, lambda: spool.lost)
    return spool


def _collector(around: Surroundings) -> Collector:
    prices = {name: each.tokens for name, each in pricing(around.settings).items()}
    metrics = around.metrics
    collector = Collector(around.store, lambda: around.follower.snapshot, time.monotonic, prices, metrics.cost.add)
    metrics.follow(metrics.losses.requests, lambda: collector.lost)
    return collector


def _pairs(around: Surroundings) -> PairCollector:
    pairs = PairCollector(around.store, lambda: around.follower.snapshot, time.monotonic)
    around.metrics.follow(around.metrics.losses.pairs, lambda: pairs.lost)
    return pairs


def _units(around: Surroundings, sampled: CheckSample) -> tuple[UnitCollector, ClusterCollector]:
    clocks = (time.monotonic, time.time)
    store, metrics = around.store, around.metrics
    units = UnitCollector(store, lambda: around.follower.snapshot, *clocks, sampled=sampled)
    clusters = ClusterCollector(store, lambda: around.follower.snapshot, *clocks, sampled=sampled)
    units.left_out.told = clusters.left_out.told = metrics.losses.left_out.add
    metrics.follow(metrics.losses.units, lambda: units.lost + clusters.lost)
    metrics.follow(metrics.losses.latencies, lambda: units.beyond)
    return units, clusters


def _judges(around: Surroundings, sink: ScoreSink) -> Judges:
    judges = build_judges(
        around.settings,
        around.judge_keys,
        snapshot=lambda: around.follower.snapshot,
        tenants=around.tenants,
        leasing=around.leasing,
        sink=sink,
        counts=around.metrics.judging,
        proxy_credentials=around.proxy_credentials,
    )
    around.metrics.add_source(judge_gauges(judges))
    return judges


def _checking(around: Surroundings, sampled: CheckSample, found: Callable[[CheckedAnswer], None]) -> Checking | None:
    if not sampled.millipct:
        return None
    around.metrics.add_source(check_gauges(sampled))
    return Checking(
        sampled,
        snapshot=lambda: around.follower.snapshot,
        found=found,
        skipped=around.metrics.checking.skip,
        clock=SteadyClock(time.monotonic, time.time).now_s,  # that of the collectors
        every_feature=around.settings.checks.every_feature,
    )
