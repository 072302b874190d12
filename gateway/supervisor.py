"""Runs the gateway: one process for the operator's port and the workers' lives, N workers for everything else.

Always at least one worker, so that probes, metrics and the operator never wait behind callers. SIGTERM and SIGINT
drain, a second one ends at once; SIGHUP reads the configuration again and replaces the workers one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections import defaultdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.auth import Keyring, new_key
from gateway.build import form
from gateway.controller import automation_of, metrics_of
from gateway.core import messages as say
from gateway.core.traffic_rate import TrafficRate
from gateway.first_start import first_key, make_state_dir
from gateway.fleet import Configuration, Fleet
from gateway.listeners import Listeners, url_of
from gateway.loop import loop_factory, repeat, spare_collections
from gateway.metrics import REQUESTS
from gateway.pricing import pricing
from gateway.settings import SettingsError
from gateway.spool_files import EXPORT_LOG, SPOOL_FOLDER, SpoolFiles
from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.controller import read_capacity
from rollout.core.errors import RolloutError, StoreReset, StoreUnavailable
from rollout.core.model import NOT_LOADED
from rollout.core.position import Standing, compare
from rollout.follower import Follower
from rollout.gauges import ramp_families
from rollout.keys.follower import KeyFollower
from rollout.keys.uses import KeyUses
from rollout.seed import ensure_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.registry import Collector

    from gateway.operator_port import OperatorPort
    from gateway.process import WorkerProcess
    from gateway.request_api import Sought
    from gateway.settings import Settings
    from rollout.ports import Store

_log = logging.getLogger(__name__)
_KILLS_EVERY_S = 0.1
_TRAFFIC_EVERY_S = 2.0
_SPOOL_EVERY_S = 10.0


class Started(NamedTuple):
    """Where the gateway listens, and the key it made if this was the first start."""

    gateway_url: str
    admin_url: str
    new_key: str | None


def run(read: Callable[[], Configuration], announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT. `read`: the configuration as it is now; `announce`: called once all answers.

    Raises `StartError`, `SettingsError` and the rollout's errors.
    """
    configuration = read()
    listeners = Listeners(configuration.settings)
    with contextlib.closing(listeners), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(read, configuration, listeners, announce))


async def _serve(
    read: Callable[[], Configuration],
    configuration: Configuration,
    listeners: Listeners,
    announce: Callable[[Started], None],
) -> None:
    settings = configuration.settings
    store = open_store(settings.store.url)
    try:
        make_state_dir(Path(settings.store.state_dir))
        supervisor = Supervisor(read, configuration, listeners, store)
        made = await supervisor.first_key(settings)
        started = Started(url_of(listeners.public[0]), url_of(listeners.admin), made)
        try:
            await supervisor.fleet.spawn()
            await supervisor.load(settings)
            port = supervisor.open_operator_port(settings)
            await supervisor.fleet.start()
            await supervisor.run(port, lambda: announce(started))
        finally:
            await supervisor.fleet.kill()
    finally:
        await store.close()


class Supervisor:
    """What signals and the operator's port act on. It is the operator port's `Workers`."""

    def __init__(
        self, read: Callable[[], Configuration], configuration: Configuration, listeners: Listeners, store: Store
    ) -> None:
        self._read, self._listeners, self._store = read, listeners, store
        state_dir = self._state_dir = Path(configuration.settings.store.state_dir)
        self._spool = SpoolFiles(state_dir / SPOOL_FOLDER)
        self._clock = WallClock()
        self._follower = Follower(
            store, self._clock, last_good=state_dir / "last-good.json", kill_file=state_dir / "kill"
        )
        self._keyring = Keyring()
        self._keys = KeyFollower(store, self._clock, self._keyring.replace, last_good=state_dir / "last-good-keys.json")
        self._uses = KeyUses(store, self._keyring.take_uses)
        settings = configuration.settings
        self._metrics = metrics_of(settings, self._clock)
        self._automation = (
            automation_of(settings, store, self._follower, self._clock, self._metrics)
            if settings.controller.enabled
            else None
        )
        self._traffic = TrafficRate()
        self._unseeded: Settings | None = None
        self._kills_told: frozenset[str] = frozenset()
        self._stop, self._hurry, self._reload = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.fleet = Fleet(configuration, listeners, self._given)

    async def first_key(self, settings: Settings) -> str | None:
        """See to it that there is a key; the new one, if it was made up now.

        Raises `StoreUnavailable`, unless what this replica knew last is enough to start with.
        """
        try:
            if compare(self._follower.position, await self._store.position()) is not Standing.FOLLOWS:
                return None  # a store that lost its data has lost its keys too; those known last are in force
            return await first_key(self._store, Path(settings.store.state_dir))
        except StoreUnavailable as fault:
            if NOT_LOADED in {self._keys.version, self._follower.version}:
                raise
            _log.warning("%s; starting with the documents and keys known last", fault.cause)
            return None

    async def load(self, settings: Settings) -> None:
        """Bring store and memory to what the configuration and the store say."""
        try:
            await self._seed(settings)
        except (StoreUnavailable, StoreReset) as fault:
            if self._follower.version == NOT_LOADED:
                raise
            _log.warning("%s; the configured features are looked after later", fault.cause)
            self._unseeded = settings
            self._follower.when_in_touch(self._seed_at_last)
        await self._follower.refresh()
        await self._keys.refresh()

    def open_operator_port(self, settings: Settings) -> OperatorPort:
        """Make the operator's port; imported late, so that the workers load at the same time."""
        from gateway.admin import authorizer, build_admin  # noqa: PLC0415  see above
        from gateway.arena import Arena  # noqa: PLC0415  see above
        from gateway.arena_api import arena_router  # noqa: PLC0415  see above
        from gateway.arena_page import add_arena_page  # noqa: PLC0415  see above
        from gateway.export_api import Exports, export_router  # noqa: PLC0415  see above
        from gateway.operator_port import OperatorPort  # noqa: PLC0415  see above
        from gateway.request_api import request_router  # noqa: PLC0415  see above
        from rollout.api.router import router  # noqa: PLC0415  see above
        from rollout.keys.api import key_router  # noqa: PLC0415  see above
        from rollout.keys.operations import KeyOperations  # noqa: PLC0415  see above
        from rollout.surroundings import Surroundings  # noqa: PLC0415  see above

        keys = KeyOperations(self._store, self._clock, new_key, self._keys.refresh)

        async def restore(actor: str, reason: str) -> None:
            await keys.restore(self._keys.records, actor=actor, reason=reason)

        authorize, capacity = authorizer(self._keyring), partial(read_capacity, self._metrics)
        around = Surroundings(
            rate_of=self._traffic.per_s,
            upstreams=lambda: frozenset(self.fleet.configuration.settings.upstreams),
            judges=lambda: frozenset(self.fleet.configuration.settings.judges),
            metrics=self._metrics,
            prices=lambda: pricing(self.fleet.configuration.settings),
        )
        api = router(self._store, self._follower, self._clock, authorize, capacity, around=around, restore=restore)
        api.include_router(request_router(self.find_request, self._store.history, authorize))
        notice, fault = self._keys.refresh, lambda: self._keys.last_error
        api.include_router(key_router(self._store, self._clock, authorize, new_key, notice, fault=fault))
        texts, log = (self._spool, self._store, lambda: self._follower.flags), self._state_dir / EXPORT_LOG
        api.include_router(arena_router(Arena(*texts, self._clock.now_s), authorize))
        api.include_router(export_router(Exports(*texts, log, self._clock.now_s), authorize))
        app = build_admin(api, self)
        add_arena_page(app)
        return OperatorPort(app, settings.server.keep_alive_s)

    async def run(self, port: OperatorPort, announce: Callable[[], None]) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        serving = loop.create_task(port.serve([self._listeners.admin]))
        steps = (
            self._follower.run(),
            self.fleet.watch(),
            self._reload_when_asked(),
            self._keys.run(),
            self._uses.run(),
            repeat(_KILLS_EVERY_S, self._tell_kills),
            repeat(_TRAFFIC_EVERY_S, self._note_traffic),
            repeat(_SPOOL_EVERY_S, self._sweep_spool),
            *(() if self._automation is None else (self._automation.run(),)),
        )
        chores = [loop.create_task(each) for each in steps]
        stopping = loop.create_task(self._stop.wait())
        try:
            await port.listening.wait()
            announce()
            spare_collections()
            ends: list[asyncio.Future[Any]] = [stopping, serving, self.fleet.hopeless, *chores]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self.fleet.hopeless.done():
                raise self.fleet.hopeless.result()
            await self._drain()
            port.should_exit = True
            await serving
            _raise_of_dead(chores)
        finally:
            for task in (*chores, serving, stopping):
                task.cancel()
            await asyncio.gather(*chores, serving, stopping, return_exceptions=True)
            await self._uses.close()
            if self._metrics is not None:
                await self._metrics.close()

    async def collect(self) -> Collector:
        """As `Workers.collect`."""
        from gateway.page import Page  # noqa: PLC0415  loaded with the operator's port

        await self.fleet.board.collect()
        return Page(self.fleet, self._follower, lambda: ramp_families(self._follower, self._automation))

    async def find_request(self, request_id: str) -> Sought:
        """Ask all workers for the settled requests of that id; bounded in time."""
        from gateway.request_api import sought  # noqa: PLC0415  loaded with the operator's port

        return sought([answer for _, answer in await self.fleet.board.ask(say.FindRequest(request_id))])

    async def catch_up(self) -> None:
        """As `Workers.catch_up`."""
        self._kills_told = self._follower.kills_in_memory
        await self.fleet.board.ask(say.CatchUp(tuple(self._kills_told)))

    def unready(self) -> str | None:
        """As `Workers.unready`."""
        return self.fleet.unready()

    def _given(self, configuration: Configuration, worker: WorkerProcess) -> say.Configure:
        return say.Configure(
            protocol=say.PROTOCOL,
            build=version("glidepath"),
            number=worker.number,
            listeners=worker.listener_fds,
            settings=configuration.settings.model_dump_json().encode(),
            api_keys=configuration.api_keys,
            proxy_credentials=configuration.proxy_credentials,
            judge_keys=configuration.judge_keys,
            key_records=msgspec.msgpack.encode(self._keys.records),
            kills=tuple(self._follower.kills_in_memory),
        )

    async def _seed(self, settings: Settings) -> None:
        wanted = {name: (feature.candidate, feature.baseline) for name, feature in settings.features.items()}
        await ensure_features(self._store, wanted, self._clock, self._follower.position)

    async def _seed_at_last(self) -> None:
        """Once the store is there, or its loss accepted."""
        if self._unseeded is not None:
            await self._seed(self._unseeded)
            self._unseeded = None

    async def _tell_kills(self) -> None:
        """Kills that no file holds reach the workers in no other way."""
        if self._follower.kills_in_memory != self._kills_told:
            await self.catch_up()

    async def _note_traffic(self) -> None:
        totals: defaultdict[str, float] = defaultdict(float)
        for (feature, *_), (count, *_) in self.fleet.board.ledger.parts_of(REQUESTS):
            totals[feature] += count
        self._traffic.note(monotonic(), totals)

    async def _sweep_spool(self) -> None:
        """Kept texts go when their time is up, or when there are too many."""
        ttls_s = {name: flag.shadow.keep.ttl_s for name, flag in self._follower.flags.items()}
        size_max = self.fleet.configuration.settings.spool.size_max_mb * 2**20
        await asyncio.to_thread(self._spool.sweep, self._clock.now_s(), ttls_s, size_max)

    def _on_stop(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _drain(self) -> None:
        server = self.fleet.configuration.settings.server
        loop = asyncio.get_running_loop()
        draining = loop.create_task(self.fleet.drain(server.drain_grace_s, server.drain_s))
        hurried = loop.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        hurried.cancel()
        await self.fleet.kill()

    async def _reload_when_asked(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            try:
                configuration = self._read()
                _refuse_moves(self.fleet.configuration.settings, configuration.settings)
                await self._seed(configuration.settings)
                await self.fleet.reload(configuration)
            except (SettingsError, RolloutError) as fault:
                _log.error("the configuration stays as it was: %s\n  hint: %s", fault.cause, fault.hint)
            except Exception:  # noqa: BLE001  the old workers go on, whatever it is
                _log.exception("the configuration could not be read again")


def _refuse_moves(before: Settings, after: Settings) -> None:
    """Some settings hold for the life of the supervisor."""
    places: dict[str, Callable[[Settings], object]] = {
        "[server] host and port": lambda each: (each.server.host, each.server.port),
        "[admin]": lambda each: each.admin,
        "[store]": lambda each: each.store,
        "[controller]": lambda each: each.controller,
        "[prometheus]": lambda each: each.prometheus,
        "[webhooks]": lambda each: each.webhooks,
    }
    for place, value in places.items():
        if value(before) != value(after):
            raise SettingsError(f"{place} can't change while the gateway runs", "restart it to change them")


def _raise_of_dead(chores: list[asyncio.Task[None]]) -> None:
    for task in chores:
        error = None if not task.done() or task.cancelled() else task.exception()
        if error is not None:
            raise error


def report(started: Started) -> None:
    """Say on stdout where everything is, and the first key once."""
    where = f"gateway {started.gateway_url}/v1  operator {started.admin_url}"
    lines = [f"Glidepath is ready: {where}  (request path {form()})"]
    if started.new_key:
        lines.append(f"first API key (shown once, all features and roles): {started.new_key}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
