"""The automation as the configuration wants it: inside a gateway's supervisor, or alone (`glidepath controller`)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.first_start import make_state_dir
from gateway.listeners import listen, url_of
from gateway.loop import loop_factory
from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.adapters.prometheus import PrometheusAccess, PrometheusSource
from rollout.automation import Automation, AutomationRules
from rollout.core.model import NOT_LOADED
from rollout.follower import Follower
from rollout.gauges import ramp_families
from rollout.webhooks import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI
    from prometheus_client.metrics_core import Metric

    from gateway.settings import Settings
    from rollout.ports import Clock, MetricSource, Store


def automation_of(
    settings: Settings, store: Store, follower: Follower, clock: Clock, metrics: MetricSource | None
) -> Automation:
    """Make the automation. Raises the rollout's `InvalidArgument` for addresses that can't be meant."""
    receivers = tuple(
        Receiver(name, each.url, Path(each.secret_file), None if each.kinds is None else frozenset(each.kinds))
        for name, each in settings.webhooks.items()
    )
    rules = AutomationRules(settings.controller.every_s, settings.controller.lease_s, receivers)
    return Automation(store, follower, clock, rules, metrics)


def metrics_of(settings: Settings, clock: Clock) -> MetricSource | None:
    """Make the source of what gates ask, if one is configured; `InvalidArgument` as above."""
    wanted = settings.prometheus
    if wanted is None:
        return None
    access = PrometheusAccess(_path(wanted.bearer_file), _path(wanted.basic_file))
    return PrometheusSource(wanted.url, clock, limit_s=wanted.timeout_s, access=access, ca_file=_path(wanted.ca_file))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Move ramps until SIGTERM or SIGINT; no requests are served. `announce`: told the URL once that answers.

    Raises `StartError` and the rollout's errors. `[controller] enabled` is about gateways, not asked here.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(settings, announce))


async def _run(settings: Settings, announce: Callable[[str], None]) -> None:
    store, clock = open_store(settings.store.url), WallClock()
    try:
        state_dir = Path(settings.store.state_dir)
        make_state_dir(state_dir)
        # Its own file: what it knew decides whether the store has lost data, and gateways may share the directory.
        follower = Follower(store, clock, last_good=state_dir / "controller.json", kill_file=state_dir / "kill")
        metrics = metrics_of(settings, clock)
        try:
            await _serve(settings, follower, automation_of(settings, store, follower, clock, metrics), announce)
        finally:
            if metrics is not None:
                await metrics.close()
    finally:
        await store.close()


async def _serve(
    settings: Settings, follower: Follower, automation: Automation, announce: Callable[[str], None]
) -> None:
    from gateway.operator_port import OperatorPort  # noqa: PLC0415  uvicorn takes its time to load

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await follower.refresh()
    with contextlib.closing(listen("controller", settings.controller.host, settings.controller.port)) as listener:
        app = _app(lambda: ramp_families(follower, automation), follower)
        port = OperatorPort(app, settings.server.keep_alive_s)
        chores = [loop.create_task(each) for each in (follower.run(), automation.run(), port.serve([listener]))]
        stopping, listening = loop.create_task(stop.wait()), loop.create_task(port.listening.wait())
        try:
            await asyncio.wait([listening, stopping, *chores], return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                announce(url_of(listener))
            done, _ = await asyncio.wait([stopping, *chores], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        finally:
            for task in (*chores, stopping, listening):
                task.cancel()
            await asyncio.gather(*chores, stopping, listening, return_exceptions=True)


def _app(families: Callable[[], Iterator[Metric]], follower: Follower) -> FastAPI:
    from fastapi import FastAPI  # noqa: PLC0415  as uvicorn

    from gateway.admin import Families, add_metrics, add_probes  # noqa: PLC0415  likewise

    app = FastAPI(title="Glidepath controller", docs_url=None, redoc_url=None, openapi_url=None)

    async def collect() -> Families:
        return Families(families)

    def unready() -> str | None:
        return "no rollout document has been loaded yet" if follower.version == NOT_LOADED else None

    add_metrics(app, collect)
    add_probes(app, unready)
    return app
