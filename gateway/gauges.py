"""Gauges that are read when scraped: shares asked for, kills, snapshot age, requests and connections under way."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.core.breaker import BreakerState
from gateway.metrics import gauge
from gateway.upstream import ENDPOINT_STATES
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.core.checks.sampling import CheckSample
    from gateway.core.series import Reading
    from gateway.judges import Judges
    from gateway.quotas import Quotas
    from gateway.relay import Relay
    from rollout.follower import Follower


def worker_gauges(relay: Relay, follower: Follower, quotas: Quotas) -> Callable[[], Iterable[Reading]]:
    """What each worker reads of itself; the source to register with `Metrics.add_source`.

    The oldest snapshot of all workers shows: a change is in force when every worker has it.
    """

    def source() -> Iterator[Reading]:
        yield gauge("glidepath_snapshot_version", "Store version in force.", (), [((), follower.version)], "min")
        age_s = follower.age_s(time.time())
        yield gauge(
            "glidepath_snapshot_age_seconds", "Since the store last confirmed the snapshot.", (), [((), age_s)], "max"
        )
        yield from _traffic(relay)
        yield from _door(relay, quotas)

    return source


def judge_gauges(judges: Judges) -> Callable[[], Iterable[Reading]]:
    """What each worker reads of its judges; a source likewise."""

    def source() -> Iterator[Reading]:
        waiting = [((name,), float(sum(judge.counts))) for name, judge in judges.judges.items()]
        yield gauge("glidepath_judge_waiting", "Pairs that wait for a verdict.", ("judge",), waiting)
        states = [
            ((name, state), float(judge.state is state))
            for name, judge in judges.judges.items()
            for state in BreakerState
        ]
        yield gauge("glidepath_judge_state", "Workers that have the judge in this state.", ("judge", "state"), states)

    return source


def check_gauges(sampled: CheckSample) -> Callable[[], Iterable[Reading]]:
    """What each worker reads of its sample of answers; a source likewise."""

    def source() -> Iterator[Reading]:
        text = "Part of all answers that is checked, of the worker that checks least."
        yield gauge("glidepath_check_sample_ratio", text, (), [((), sampled.millipct / BUCKETS)], "min")

    return source


def rollout_gauges(follower: Follower) -> Iterator[Reading]:
    """What is asked for, as the supervisor reads it from the store."""
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
    yield gauge(
        "glidepath_refused_documents", "Documents that could not be used.", (), [((), follower.refused_documents)]
    )


def _traffic(relay: Relay) -> Iterator[Reading]:
    tasks = float(len(asyncio.all_tasks()))
    yield gauge("glidepath_tasks", "Tasks of the workers' loops; requests have none.", (), [((), tasks)])
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
    text = "Workers that have the endpoint in this state; only a healthy one is chosen freely."
    yield gauge("glidepath_endpoint_state", text, ("upstream", "endpoint", "state"), states)


def _door(relay: Relay, quotas: Quotas) -> Iterator[Reading]:
    shedding = relay.door.shedding
    waiting = [((priority.value,), float(number)) for priority, number in shedding.waiting.items()]
    yield gauge("glidepath_queue_waiting", "Requests that wait for a place.", ("priority",), waiting)
    yield gauge("glidepath_places_taken", "Requests that have a place.", (), [((), float(shedding.under_way))])
    text = "1 while a worker cannot lease quotas from the store."
    yield gauge("glidepath_quota_store_down", text, (), [((), float(quotas.is_down))], "max")
    text = "Since the store last leased quotas to the worker that waits longest."
    yield gauge("glidepath_quota_age_seconds", text, (), [((), quotas.age_s())], "max")


def _sums(endpoints: Iterable[object]) -> tuple[int, ...]:
    counts = [endpoint.pool.counts for endpoint in endpoints]  # type: ignore[attr-defined]
    return tuple(sum(column) for column in zip(*counts, strict=True))
