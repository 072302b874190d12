"""Gauges that are read when scraped: shares asked for, kills, snapshot age, requests and connections under way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.metrics import gauge
from gateway.upstream import ENDPOINT_STATES
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.relay import Relay
    from rollout.follower import Follower


def live_gauges(relay: Relay, follower: Follower) -> Callable[[], Iterable[Metric]]:
    """Make the source to register with `Metrics.add_source`."""

    def source() -> Iterator[Metric]:
        yield from _rollout(follower)
        yield from _traffic(relay)

    return source


def _rollout(follower: Follower) -> Iterator[Metric]:
    flags = [compiled.flag for compiled in follower.snapshot.features.values()]
    yield gauge(
        "glidepath_share_ratio",
        "Candidate's share as committed, kill not considered.",
        ("feature",),
        [((flag.feature,), flag.share_millipct / BUCKETS) for flag in flags],
    )
    yield gauge("glidepath_killed", "1 while the kill is on.", ("feature",), [((f.feature,), f.kill.on) for f in flags])
    yield gauge(
        "glidepath_flag_revision", "Revision in force.", ("feature",), [((f.feature,), f.revision) for f in flags]
    )
    yield gauge("glidepath_snapshot_version", "Store version in force.", (), [((), follower.version)])
    age_s = follower.age_s(time.time())
    yield gauge("glidepath_snapshot_age_seconds", "Since the store last confirmed the snapshot.", (), [((), age_s)])
    yield gauge(
        "glidepath_refused_documents", "Documents that could not be used.", (), [((), follower.refused_documents)]
    )


def _traffic(relay: Relay) -> Iterator[Metric]:
    yield gauge("glidepath_requests_in_flight", "Relay requests under way.", (), [((), len(relay.active))])
    series = [
        ((name, state), float(number))
        for name, upstream in relay.upstreams.items()
        for state, number in zip(("idle", "busy", "waiting"), _sums(upstream.endpoints), strict=True)
    ]
    text = "Upstream connections idle and busy, and requests waiting for one."
    yield gauge("glidepath_upstream_connections", text, ("upstream", "state"), series)
    states = [
        ((name, endpoint.label, state), float(endpoint.state == state))
        for name, upstream in relay.upstreams.items()
        for endpoint in upstream.endpoints
        for state in ENDPOINT_STATES
    ]
    text = "1 for the state an endpoint is in; only a healthy one is chosen freely."
    yield gauge("glidepath_endpoint_state", text, ("upstream", "endpoint", "state"), states)


def _sums(endpoints: Iterable[object]) -> tuple[int, ...]:
    counts = [endpoint.pool.counts for endpoint in endpoints]  # type: ignore[attr-defined]
    return tuple(sum(column) for column in zip(*counts, strict=True))
