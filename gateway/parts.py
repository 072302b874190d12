"""What one worker is made of, wired together."""

from __future__ import annotations

import asyncio
import secrets
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, Protocol

from gateway.access_log import AccessLog
from gateway.app import asker_of, build_app
from gateway.auth import Keyring
from gateway.checking import Checking
from gateway.cluster_collector import ClusterCollector
from gateway.collector import Collector, PaidPairs, SumStore
from gateway.core.admission.gate import Holder
from gateway.core.admission.limits import Limits
from gateway.core.shedding import Shedding
from gateway.door import Door
from gateway.feedback import AnswerIndex
from gateway.gauges import judge_gauges, worker_gauges
from gateway.http.limits import CallerLimits
from gateway.http.port import PublicPort
from gateway.http.server import Reception
from gateway.judges import build_judges
from gateway.metrics import Metrics
from gateway.pair_collector import PairCollector
from gateway.pricing import pricing
from gateway.quotas import Quotas, QuotaStore
from gateway.recorder import Recorder, Sink
from gateway.relay import RELAY_PATHS, Relay
from gateway.settled import Settled
from gateway.shadow import Shadows
from gateway.start_error import StartError
from gateway.tenants import Tenants, prices
from gateway.unit_collector import Requests, UnitCollector, UnitStore
from gateway.upstream import build_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import APIRouter, Request

    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.door import Guest
    from gateway.feedback import Others
    from gateway.judges import Judges
    from gateway.scores import ScoreSink
    from gateway.settings import Settings
    from gateway.settings.sections import ObservabilitySettings, ServerSettings
    from gateway.tracing import SpanSink
    from gateway.upstream import Upstream
    from rollout.core.keys import KeyRecord
    from rollout.core.model import Snapshot
    from rollout.core.ofrep import Asker
    from rollout.follower import Follower

    FlagRouter = Callable[[Callable[[], Snapshot], Callable[[Request], Asker]], APIRouter]

STANDARD_OUTPUT = "-"
P = ParamSpec("P")


class ClosableSink(Sink, Protocol):
    """A sink that has something to finish."""

    def close(self) -> None:
        """Finish."""
        ...


class WorkerStore(QuotaStore, SumStore, UnitStore, Protocol):
    """What a worker's parts need of the store."""


class Secrets(NamedTuple):
    """What the environment holds, by upstream; by judge."""

    api_keys: Mapping[str, str | None]
    proxy_credentials: Mapping[str, str | None]
    judge_keys: Mapping[str, str | None]


class Parts(NamedTuple):
    """The relay stack of one worker."""

    relay: Relay
    recorder: Recorder
    metrics: Metrics
    answers: AnswerIndex
    settled: Settled
    port: PublicPort
    keyring: Keyring
    quotas: Quotas
    tenants: Tenants
    collector: Collector
    units: UnitCollector
    pairs: PairCollector
    clusters: ClusterCollector
    judges: Judges
    sinks: Sequence[ClosableSink]

    async def count_units(self) -> None:
        """Have evidence counted until cancelled."""
        requests = Requests(self.recorder.settle, self.relay.under_way)
        await asyncio.gather(self.units.run(requests), self.clusters.run(requests))

    def adopt_keys(self, records: Sequence[KeyRecord]) -> None:
        """Put these keys and their limits in force."""
        self.keyring.replace(records)
        self.quotas.admission.replace(
            [_holder(record) for record in records if record.revoked_at_s is None], self.tenants.limits_of
        )


def build_parts(
    settings: Settings,
    given: Secrets,
    store: WorkerStore,
    follower: Follower,
    *,
    unready: Callable[[], str | None],
    others: Others,
    flag_router: FlagRouter | None = None,
) -> Parts:
    """Make the relay stack; opens no connection. Raises `StartError` when something optional is missing.

    `flag_router`: makes what lets SDKs of feature flags read the same decisions.
    """
    metrics = Metrics()
    units, clusters = _units(settings, store, follower, metrics)
    answers = AnswerIndex(metrics, rated=_each(units.take_rating, clusters.take_rating))
    sinks, settled = _sinks(settings.observability, metrics), Settled(answers, time.time())
    collector = _collector(settings, store, follower, metrics)
    recorder = Recorder(metrics, answers, (*sinks, collector, units, clusters), settled.add_other)
    keyring, tenants, quotas = Keyring(), Tenants(settings), Quotas(store, workers=settings.server.workers)
    numbers, prefix = count(), secrets.token_hex(6)
    observed, server = settings.observability, settings.server
    upstreams = _upstreams(settings, given)
    door = Door(tenants, quotas.admission, prices(settings), _shedding(server))
    pairs = _pairs(store, follower, metrics)
    judges = _judges(settings, given, follower, tenants, quotas=quotas, metrics=metrics, sink=pairs)
    paid = PaidPairs(collector, judges)
    shadows = Shadows(snapshot=lambda: follower.snapshot, upstreams=upstreams, door=door, metrics=metrics, sink=paid)
    relay = Relay(
        keyring=keyring,
        snapshot=lambda: follower.snapshot,
        upstreams=upstreams,
        door=door,
        record=recorder.record,
        next_request_id=lambda: f"req_{prefix}{next(numbers):08x}",
        trace_ratio=observed.trace_ratio if observed.otlp_endpoint else None,
        shadows=shadows,
        checking=_checking(settings, follower, _each(units.take_check, clusters.take_check), metrics),
    )
    metrics.add_source(worker_gauges(relay, follower, quotas))
    app = build_app(relay, recorder, answers, unready, others)
    if flag_router is not None:
        app.include_router(flag_router(relay.snapshot, asker_of(keyring)))
    reception = Reception(relay.accept, RELAY_PATHS, body_max_bytes=server.body_max_bytes, limits=_limits(server))
    port = PublicPort(app, reception, keep_alive_s=server.keep_alive_s)
    return Parts(
        *(relay, recorder, metrics, answers, settled, port, keyring, quotas, tenants),
        *(collector, units, pairs, clusters, judges, sinks),
    )


def _collector(settings: Settings, store: SumStore, follower: Follower, metrics: Metrics) -> Collector:
    prices = {name: each.tokens for name, each in pricing(settings).items()}
    collector = Collector(store, lambda: follower.snapshot, time.monotonic, prices, metrics.cost.add)
    metrics.follow(metrics.losses.requests, lambda: collector.lost)
    return collector


def _upstreams(settings: Settings, given: Secrets) -> dict[str, Upstream]:
    return {
        name: build_upstream(name, each, given.api_keys[name], given.proxy_credentials.get(name))
        for name, each in settings.upstreams.items()
    }


def _judges(
    settings: Settings,
    given: Secrets,
    follower: Follower,
    tenants: Tenants,
    *,
    quotas: Quotas,
    metrics: Metrics,
    sink: ScoreSink,
) -> Judges:
    judges = build_judges(
        settings,
        given.judge_keys,
        snapshot=lambda: follower.snapshot,
        tenants=tenants,
        leasing=quotas.admission.leasing,
        sink=sink,
        counts=metrics.judging,
        proxy_credentials=given.proxy_credentials,
    )
    metrics.add_source(judge_gauges(judges))
    return judges


def _pairs(store: WorkerStore, follower: Follower, metrics: Metrics) -> PairCollector:
    pairs = PairCollector(store, lambda: follower.snapshot, time.monotonic)
    metrics.follow(metrics.losses.pairs, lambda: pairs.lost)
    return pairs


def _units(
    settings: Settings, store: WorkerStore, follower: Follower, metrics: Metrics
) -> tuple[UnitCollector, ClusterCollector]:
    checked, clocks = settings.checks.sample_millipct, (time.monotonic, time.time)
    units = UnitCollector(store, lambda: follower.snapshot, *clocks, checked_millipct=checked)
    clusters = ClusterCollector(store, lambda: follower.snapshot, *clocks, checked_millipct=checked)
    metrics.follow(metrics.losses.units, lambda: units.lost + clusters.lost)
    metrics.follow(metrics.losses.latencies, lambda: units.beyond)
    return units, clusters


def _checking(
    settings: Settings, follower: Follower, found: Callable[[CheckedAnswer], None], metrics: Metrics
) -> Checking | None:
    millipct = settings.checks.sample_millipct
    if not millipct:
        return None
    all_found = _each(metrics.checking.add, found)
    return Checking(millipct, snapshot=lambda: follower.snapshot, found=all_found, skipped=metrics.checking.skip)


def _each(*sinks: Callable[P, None]) -> Callable[P, None]:
    """One sink that stands for several."""

    def take(*given: P.args, **named: P.kwargs) -> None:
        for sink in sinks:
            sink(*given, **named)

    return take


def _shedding(server: ServerSettings) -> Shedding[Guest]:
    return Shedding(requests_max=server.requests_max, queue_max=server.queue_max, queue_wait_s=server.queue_wait_s)


def _limits(server: ServerSettings) -> CallerLimits:
    return CallerLimits(
        connections_max=server.connections_max,
        head_timeout_s=server.head_timeout_s,
        body_idle_s=server.body_idle_timeout_s,
    )


def _holder(record: KeyRecord) -> Holder:
    limits = Limits(
        record.requests_per_minute, record.tokens_per_minute, record.concurrent_max, record.budget_microusd_per_day
    )
    return Holder(record.id, record.tenant, limits)


def _sinks(observed: ObservabilitySettings, metrics: Metrics) -> list[ClosableSink]:
    sinks: list[ClosableSink] = []
    if observed.access_log is not None:
        log = AccessLog(None if observed.access_log == STANDARD_OUTPUT else Path(observed.access_log))
        metrics.follow(metrics.losses.access_log, lambda: log.dropped)
        sinks.append(log)
    if observed.otlp_endpoint is not None:
        spans = load_tracing()(observed.otlp_endpoint, version=version("glidepath"))
        metrics.follow(metrics.losses.spans, lambda: spans.dropped)
        sinks.append(spans)
    return sinks


def load_tracing() -> type[SpanSink]:
    """The sink for spans. Raises `StartError` if what it needs isn't installed."""
    try:
        from gateway.tracing import SpanSink  # noqa: PLC0415  an extra
    except ImportError:
        cause = "[observability] otlp_endpoint is set, but OpenTelemetry isn't installed"
        raise StartError(cause, "pip install 'glidepath[otel]', or remove otlp_endpoint") from None
    return SpanSink
