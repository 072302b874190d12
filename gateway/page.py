"""The metrics page: what all workers counted, and what they and the supervisor read now."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from gateway.build import is_compiled
from gateway.core.lives import State
from gateway.core.series import merge_readings
from gateway.gauges import rollout_gauges
from gateway.metrics import Metrics, gauge, gauge_family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from gateway.core.series import Reading
    from gateway.fleet import Fleet
    from rollout.follower import Follower


class Page(Collector):
    """One scrape."""

    def __init__(self, fleet: Fleet, follower: Follower, others: Callable[[], Iterable[Metric]] = tuple) -> None:
        """`others`: families that are made elsewhere."""
        self._fleet, self._follower, self._others = fleet, follower, others

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        merged = Metrics()
        board = self._fleet.board
        for series in board.ledger.totals():
            merged.absorb(series)
        yield from merged.collect()
        yield from map(gauge_family, merge_readings(worker.readings for worker in board.lines.values()))
        yield from map(gauge_family, rollout_gauges(self._follower))
        yield from map(gauge_family, _processes(self._fleet))
        restarts = CounterMetricFamily("glidepath_worker_restarts", "Workers replaced, by reason.", labels=("reason",))
        for reason, number in self._fleet.restarts.items():
            restarts.add_metric((reason,), number)
        yield restarts
        yield from self._others()


def _processes(fleet: Fleet) -> Iterator[Reading]:
    workers = list(fleet.board.lines.values())
    states = Counter(worker.state.value for worker in workers)
    by_state = [((state.value,), states[state.value]) for state in State if state is not State.GONE]
    yield gauge("glidepath_workers", "Worker processes by state.", ("state",), by_state)
    # By slot, of which there are few, not by process: the series must not grow with every restart.
    memory = Counter[str]()
    for worker in workers:
        memory[str(worker.slot)] += worker.memory_bytes
    text = "Resident memory of the workers of a slot: one, or two while one replaces the other."
    yield gauge("glidepath_worker_memory_bytes", text, ("slot",), [((slot,), used) for slot, used in memory.items()])
    build = (version("glidepath"), platform.python_version(), str(is_compiled()).lower())
    text = "Always 1; `compiled`: whether the request path is."
    yield gauge("glidepath_build_info", text, ("version", "python", "compiled"), [(build, 1)])
