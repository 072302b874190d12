"""What one worker is made of, wired together."""

from __future__ import annotations

import secrets
import time
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.access_log import AccessLog
from gateway.additions import UnitStore
from gateway.app import asker_of, build_app
from gateway.auth import Keyring
from gateway.core.admission.gate import Holder
from gateway.core.admission.limits import Limits
from gateway.core.shedding import Shedding
from gateway.door import Door
from gateway.feedback import AnswerIndex
from gateway.gathering import Gathering, Surroundings, build_gathering
from gateway.gauges import worker_gauges
from gateway.http.limits import CallerLimits
from gateway.http.port import PublicPort
from gateway.http.server import Reception
from gateway.metrics import Metrics
from gateway.quotas import Quotas, QuotaStore
from gateway.recorder import Recorder, Sink
from gateway.relay import RELAY_PATHS, Relay
from gateway.settled import Settled
from gateway.shadow import Shadows
from gateway.start_error import StartError
from gateway.tenants import Tenants, prices
from gateway.unit_collector import Requests
from gateway.upstream import build_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import APIRouter, Request

    from gateway.door import Guest
    from gateway.feedback import Others
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


class ClosableSink(Sink, Protocol):
    """A sink that has something to finish."""

    def close(self) -> None:
        """Finish."""
        ...


class WorkerStore(QuotaStore, UnitStore, Protocol):
    """What a worker's parts need of the store."""


class Secrets(NamedTuple):
    """What the environment holds, by upstream; by judge. `proxy_credentials`: of both."""

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
    gathering: Gathering
    sinks: Sequence[ClosableSink]

    async def gather(self) -> None:
        """Have evidence gathered until cancelled."""
        await self.gathering.run(Requests(self.recorder.settle, self.relay.under_way))

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
    keyring, tenants, quotas = Keyring(), Tenants(settings), Quotas(store, workers=settings.server.workers)
    around = Surroundings(
        settings, store, follower, tenants, quotas.admission.leasing, metrics, given.judge_keys, given.proxy_credentials
    )
    gathering = build_gathering(around)
    answers = AnswerIndex(metrics, rated=gathering.take_rating)
    sinks, settled = _sinks(settings.observability, metrics), Settled(answers, time.time())
    recorder = Recorder(metrics, answers, (*sinks, *gathering.sinks), settled.add_other)
    numbers, prefix = count(), secrets.token_hex(6)
    observed, server = settings.observability, settings.server
    upstreams = _upstreams(settings, given)
    door = Door(tenants, quotas.admission, prices(settings), _shedding(server))
    sink = gathering.pair_sink
    shadows = Shadows(snapshot=lambda: follower.snapshot, upstreams=upstreams, door=door, metrics=metrics, sink=sink)
    shadows.told = gathering.pairs.take_call
    relay = Relay(
        keyring=keyring,
        snapshot=lambda: follower.snapshot,
        upstreams=upstreams,
        door=door,
        record=recorder.record,
        next_request_id=lambda: f"req_{prefix}{next(numbers):08x}",
        trace_ratio=observed.trace_ratio if observed.otlp_endpoint else None,
        shadows=shadows,
        checking=gathering.checking,
    )
    metrics.add_source(worker_gauges(relay, follower, quotas))
    app = build_app(relay, recorder, answers, unready, others)
    if flag_router is not None:
        app.include_router(flag_router(relay.snapshot, asker_of(keyring)))
    reception = Reception(relay.accept, RELAY_PATHS, body_max_bytes=server.body_max_bytes, limits=_limits(server))
    port = PublicPort(app, reception, keep_alive_s=server.keep_alive_s)
    return Parts(relay, recorder, metrics, answers, settled, port, keyring, quotas, tenants, gathering, sinks)


def _upstreams(settings: Settings, given: Secrets) -> dict[str, Upstream]:
    return {
        name: build_upstream(name, each, given.api_keys[name], given.proxy_credentials.get(name))
        for name, each in settings.upstreams.items()
    }


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
