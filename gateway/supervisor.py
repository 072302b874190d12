"""Runs the gateway: wires store, follower, keys, relay and both ports together; drains on SIGTERM.

One worker in this process; the operator's port and the follower share its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast

import uvicorn

from gateway.admin import authorizer, build_admin
from gateway.app import build_app
from gateway.auth import Keyring, first_key_record, new_key
from gateway.build import build_info, form
from gateway.feedback import AnswerIndex
from gateway.gauges import live_gauges
from gateway.http.server import RelayProtocol, relay_protocol
from gateway.metrics import Metrics
from gateway.recorder import Recorder
from gateway.relay import Relay
from gateway.settings import SettingsError
from gateway.upstream import build_upstream
from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.api import router
from rollout.core.errors import RolloutError
from rollout.follower import Follower
from rollout.seed import ensure_features

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from fastapi import FastAPI

    from gateway.settings import Settings
    from rollout.ports import Store

_log = logging.getLogger(__name__)
RELAY_PATHS = {b"/v1/chat/completions": "chat", b"/v1/completions": "text_completion"}
BOOTSTRAP_VARIABLE = "GLIDEPATH_BOOTSTRAP_KEY"
DEV_KEY_FILE = "dev-key"
_BACKLOG = 4096
_SWEEP_EVERY_S = 0.1
_KEYS_EVERY_S = 1.0
_STALE_AFTER_S = 60.0
# Requests leave no cycles behind, so collecting seldom costs no memory and saves pauses.
_GC_THRESHOLDS = (50_000, 20, 100)


class StartError(Exception):
    """The gateway can't start. `cause`: one line; `hint`: what to do."""

    exit_code = 1

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


class Started(NamedTuple):
    """Where the gateway listens, and the key it made if this was the first start."""

    gateway_url: str
    admin_url: str
    new_key: str | None


class _Server(uvicorn.Server):
    """Signals are the supervisor's business, once for both ports."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Parts(NamedTuple):
    relay: Relay
    recorder: Recorder
    follower: Follower
    keyring: Keyring
    public: _Server
    admin: _Server


def run(settings: Settings, keys: Mapping[str, str | None], announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once both ports answer. Raises `StartError`."""
    sockets = bind(settings)
    with (
        contextlib.closing(sockets[0]),
        contextlib.closing(sockets[1]),
        asyncio.Runner(loop_factory=_loop_factory()) as runner,
    ):
        runner.run(_serve(settings, keys, sockets, announce))


def bind(settings: Settings) -> tuple[socket.socket, socket.socket]:
    """Open both listening sockets before anything else is done. Raises `StartError`."""
    public = _bind("server", settings.server.host, settings.server.port)
    try:
        return public, _bind("admin", settings.admin.host, settings.admin.port)
    except BaseException:
        public.close()
        raise


def _bind(section: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA refuses
        listener.close()
        why = error.strerror if isinstance(error, OSError) else "no usable host name"
        cause = f"cannot listen on {host}:{port} ([{section}]): {why}"
        raise StartError(cause, f"stop what uses it, or set [{section}] host and port") from None
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  not there on every platform
    except ImportError:
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


async def _serve(
    settings: Settings,
    keys: Mapping[str, str | None],
    sockets: tuple[socket.socket, socket.socket],
    announce: Callable[[Started], None],
) -> None:
    store = open_store(settings.store.url)
    try:
        clock = WallClock()
        made = await _first_key(store, Path(settings.store.state_dir))
        wanted = {name: (feature.candidate, feature.baseline) for name, feature in settings.features.items()}
        await ensure_features(store, wanted, clock)
        parts = await _build(settings, keys, store, clock)
        started = Started(_url(sockets[0]), _url(sockets[1]), made)
        await _run_until_signal(settings, parts, store, sockets, lambda: announce(started))
    finally:
        await store.close()


async def _build(settings: Settings, keys: Mapping[str, str | None], store: Store, clock: WallClock) -> _Parts:
    state_dir = Path(settings.store.state_dir)
    follower = Follower(store, clock, last_good=state_dir / "last-good.json", kill_file=state_dir / "kill")
    await follower.refresh()
    keyring = Keyring()
    keyring.replace(await store.list_keys())
    metrics = Metrics()
    answers = AnswerIndex(metrics)
    recorder = Recorder(metrics, answers)
    numbers, prefix = count(), secrets.token_hex(6)
    relay = Relay(
        keyring=keyring,
        snapshot=lambda: follower.snapshot,
        upstreams={name: build_upstream(name, each, keys[name]) for name, each in settings.upstreams.items()},
        record=recorder.record,
        next_request_id=lambda: f"req_{prefix}{next(numbers):08x}",
    )
    metrics.add_source(live_gauges(relay, follower))
    metrics.add_source(build_info)
    public = _server(build_app(relay, recorder, answers, lambda: _unready(follower, public)), settings, relay)
    admin_app = build_admin(router(store, follower, clock, authorizer(keyring)), metrics, recorder)
    admin = _Server(_config(admin_app, settings.server.keep_alive_s, drain_s=1.0))
    return _Parts(relay, recorder, follower, keyring, public, admin)


def _server(app: FastAPI, settings: Settings, relay: Relay) -> _Server:
    protocol = relay_protocol(relay.accept, RELAY_PATHS, body_max_bytes=settings.server.body_max_bytes)
    return _Server(_config(app, settings.server.keep_alive_s, drain_s=settings.server.drain_s, protocol=protocol))


def _config(
    app: FastAPI, keep_alive_s: float, *, drain_s: float, protocol: type[asyncio.Protocol] | None = None
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol or "httptools",
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, round(keep_alive_s)),
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )


def _unready(follower: Follower, public: _Server) -> str | None:
    if public.should_exit:
        return "draining"
    if follower.version < 0:
        return "no rollout document has been loaded yet"
    return None


async def _run_until_signal(
    settings: Settings,
    parts: _Parts,
    store: Store,
    sockets: tuple[socket.socket, socket.socket],
    announce: Callable[[], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    chores = [
        loop.create_task(coroutine)
        for coroutine in (
            parts.recorder.run(),
            parts.follower.run(),
            _repeat(_KEYS_EVERY_S, _follow_keys(store, parts.keyring)),
            _repeat(_SWEEP_EVERY_S, _sweep(settings, parts)),
        )
    ]
    servers = [
        loop.create_task(server.serve([listener]))
        for server, listener in zip((parts.public, parts.admin), sockets, strict=True)
    ]
    try:
        await asyncio.gather(parts.public.listening.wait(), parts.admin.listening.wait())
        announce()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        stopping = loop.create_task(stop.wait())
        await asyncio.wait([stopping, *chores, *servers], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await _drain(parts, servers)
        _raise_of_dead(chores)
    finally:
        for task in (*chores, *servers):
            task.cancel()
        await asyncio.gather(*chores, *servers, return_exceptions=True)


async def _drain(parts: _Parts, servers: list[asyncio.Task[None]]) -> None:
    """Let begun answers finish (bounded by uvicorn's graceful time-out), then close the rest."""
    parts.public.should_exit = True
    await asyncio.wait(servers[:1])
    for exchange in list(parts.relay.active):
        exchange.on_caller_gone()
    for connection in list(parts.public.server_state.connections):
        connection.transport.abort()
    parts.relay.close()
    parts.admin.should_exit = True
    await asyncio.wait(servers[1:])


def _raise_of_dead(chores: list[asyncio.Task[None]]) -> None:
    for task in chores:
        error = None if not task.done() or task.cancelled() else task.exception()
        if error is not None:
            raise error


async def _repeat(every_s: float, step: Callable[[], Awaitable[None]]) -> None:
    """Do `step` for ever; a fault in one turn is logged, the next turn comes all the same."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await step()
        except RolloutError as fault:
            _log.debug("%s", fault.cause)
        except Exception:  # noqa: BLE001  whatever it is, the gateway goes on
            _log.exception("a background step failed")


def _sweep(settings: Settings, parts: _Parts) -> Callable[[], Awaitable[None]]:
    """Deadlines of exchanges, idle connections on both sides."""

    async def step() -> None:
        now_s = perf_counter()
        parts.relay.sweep(now_s)
        for connection in list(parts.public.server_state.connections):
            if isinstance(connection, RelayProtocol):
                connection.close_if_idle(now_s, settings.server.keep_alive_s)

    return step


def _follow_keys(store: Store, keyring: Keyring) -> Callable[[], Awaitable[None]]:
    """Keep the keyring current; while the store is down the keys known last stay in force."""

    async def step() -> None:
        keyring.replace(await store.list_keys())

    return step


async def _first_key(store: Store, state_dir: Path) -> str | None:
    """See to it that an empty store gets its first key; return it if it was made up here."""
    given = os.environ.get(BOOTSTRAP_VARIABLE)
    if given is not None and not (given.isascii() and given.isprintable() and given.strip() == given and given):
        raise SettingsError(f"{BOOTSTRAP_VARIABLE} is no usable key", "use printable ASCII without blanks around it")
    key = given or new_key()
    record = first_key_record(key, time.time(), name="bootstrap" if given else "dev")
    if given:
        await store.create_key_if_empty(record)
        return None
    if await store.list_keys():
        return None
    # Saved before it is valid: a key in the store that nobody ever saw would lock everybody out.
    _save_dev_key(state_dir / DEV_KEY_FILE, key)
    return key if await store.create_key_if_empty(record) else None


def _save_dev_key(path: Path, key: str) -> None:
    """For the CLI on this host; the store has only the digest."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
    except OSError as error:
        cause = f"cannot write the first key to {path}: {error.strerror}"
        raise StartError(cause, "set [store] state_dir to a folder that can be written") from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def report(started: Started) -> None:
    """Say on stdout where everything is, and the first key once."""
    where = f"gateway {started.gateway_url}/v1  operator {started.admin_url}"
    lines = [f"Glidepath is ready: {where}  (request path {form()})"]
    if started.new_key:
        lines.append(f"first API key (shown once, all features and roles): {started.new_key}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
