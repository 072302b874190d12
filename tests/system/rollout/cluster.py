"""Three replicas of the gateway, one Redis, two upstreams: processes of their own on this host."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx2
import redis

from rollout.adapters import open_store
from rollout.adapters.redis_scripts import lease_of
from rollout.core.audit import AuditEntry, replay
from rollout.core.lease import CONTROLLER
from rollout.core.ramp_model import Phase
from tests.system.rollout.ledger import Ledger
from tests.system.rollout.relay import Relay
from tests.system.rollout.traffic import Traffic, converse
from tests.system.traps.caller import KEY
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rollout.core.model import FeatureFlag
    from tests.system.rollout.background import Background

REPLICAS = range(3)
CONTROLLERS = range(2)
WORKERS = (2, 1, 1)
UPSTREAMS = {"inhouse": "vllm", "partner": "openai"}
LEASE_S = 2.0
EVERY_S = 0.2
ANSWERS = 20
"""Of each replica, before what they say is looked at."""


class Redis:
    """One redis-server that keeps nothing over its end."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self._command.append(str(folder))
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        at_once(self._answers)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "redis-server ended at its start"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0


def samples_of(page: str) -> dict[str, float]:
    """Metrics by name and labels."""
    pairs = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


class Replica:
    """One gateway with its operator API."""

    def __init__(self, command: Any) -> None:
        self.command = command
        self.url, self.admin_url = command.shown(r"gateway (http://\S+)/v1  operator (http://\S+)").groups()
        headers = {"authorization": f"Bearer {KEY}"}
        self.api = httpx2.Client(base_url=f"{self.admin_url}/api/v1", headers=headers, timeout=30)
        self._admin = httpx2.Client(base_url=self.admin_url, timeout=30)

    def close(self) -> None:
        self.api.close()
        self._admin.close()

    def samples(self) -> dict[str, float]:
        """Metrics by name and labels."""
        return samples_of(self._admin.get("/metrics").text)

    def feature(self, feature: str) -> dict[str, Any]:
        answer = self.api.get(f"/features/{feature}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self) -> dict[str, Any]:
        """Where this replica stands to the store, and all features."""
        return self.api.get("/features").json()

    def set_share(self, feature: str, share_millipct: int, revision: int | None = None) -> httpx2.Response:
        """Set it at a revision, or at whatever is current."""
        known = self.feature(feature)["revision"] if revision is None else revision
        body = {"share_millipct": share_millipct, "reason": "a test"}
        return self.api.put(f"/features/{feature}/share", json=body, headers={"if-match": f'"{known}"'})

    def standing(self) -> str:
        """How the store stands to what this replica read of it before."""
        (found,) = (name for name, on in self.samples().items() if name.startswith("glidepath_store_standing") and on)
        return found.split('"')[1]

    def begin_ramp(self, feature: str, fields: Mapping[str, Any]) -> None:
        """Change these of a flag's fields, and start its ramp."""
        document = self.api.get("/documents").json()["x-rollouts"][feature]
        made = self.api.put(
            "/documents", json={"x-rollouts": {feature: {**document, **fields}}}, params={"reason": "a test"}
        )
        assert made.status_code == 200, made.text
        self.command_of(feature, "ramp/start", **{"if-match": f'"{self.feature(feature)["revision"]}"'})

    def command_of(self, feature: str, verb: str, body: Mapping[str, Any] | None = None, **headers: str) -> Any:
        """Carry out a verb of the API; its answer, which must be good."""
        answer = self.api.post(
            f"/features/{feature}/{verb}", json={"reason": "a test", **(body or {})}, headers=headers
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


class Cluster:
    """All of it; Redis is reached through relays only, but for what the test itself reads.

    The replicas share one relay, each controller has its own: `controllers`, by their number.
    """

    def __init__(
        self, start: Callable[..., Any], folder: Path, background: Background, features: Sequence[str]
    ) -> None:
        self._start, self._folder, self._background, self._features = start, folder, background, features
        self.redis = Redis(folder)
        self.relay = self._relay()
        self.controller_relays = tuple(self._relay() for _ in CONTROLLERS)
        commands = {name: start_upstream(start, name) for name in UPSTREAMS}
        self._upstreams = {name: each.shown(r"READY (http://\S+)/v1")[1] for name, each in commands.items()}
        self.replicas: list[Replica] = []
        self.controllers: dict[int, Any] = {}

    def start_replicas(self, own_controllers: int) -> None:
        """Start them all at once; so many of them have a controller in them."""
        files = [self._configure(number, self.relay, enabled=number < own_controllers) for number in REPLICAS]
        gateways = [self._start("gateway", "--config", file) for file in files]
        self.replicas = [Replica(gateway) for gateway in gateways]

    def restart_replica(self, number: int) -> None:
        """End one and start it again, with the state it had."""
        before = self.replicas[number]
        before.close()
        assert before.command.stop() == 0
        self.replicas[number] = Replica(self._start("gateway", "--config", f"process-{number}.toml"))

    def start_controller(self, number: int) -> None:
        """Start a controller in a process of its own."""
        file = self._configure(len(REPLICAS) + number, self.controller_relays[number])
        self.controllers[number] = self._start("controller", "--config", file)
        self.controllers[number].shown("http://")

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()
        for relay in (self.relay, *self.controller_relays):
            self._background.do(relay.close())
        self.redis.kill()

    def leader(self) -> int | None:
        """Number of the controller that holds the lease now."""
        with redis.Redis(port=self.redis.port) as client:
            held = client.hgetall(lease_of(CONTROLLER))
        if not held or int(held[b"until_ms"]) < time.time() * 1_000:
            return None
        pid = int(held[b"holder"].split(b":")[1])
        return next((number for number, each in self.controllers.items() if each.process.pid == pid), None)

    def wait_for_leader(self) -> int:
        found: list[int] = []
        at_once(lambda: found.extend(number for number in [self.leader()] if number is not None) or found)
        return found[0]

    def leads(self, number: int) -> float:
        """What a controller says of itself."""
        url = self.controllers[number].shown(r"http://\S+/metrics")[0]
        return samples_of(httpx2.get(url, timeout=30).text)["glidepath_controller_leading"]

    def _relay(self) -> Relay:
        relay = Relay(self.redis.port)
        self._background.do(relay.start())
        return relay

    def _configure(self, number: int, relay: Relay, *, enabled: bool = False) -> str:
        """Write a process's configuration; the file's name."""
        text = config(relay, self._upstreams, self._features, number, enabled=enabled)
        name = f"process-{number}.toml"
        (self._folder / name).write_text(text, "utf-8")
        return name

    @contextmanager
    def traffic(self, *features: str) -> Iterator[Traffic]:
        """Callers of all replicas meanwhile; inside, the first answers of each are there."""
        urls = {number: replica.url for number, replica in enumerate(self.replicas)}
        traffic = Traffic(urls, features, KEY)
        self._background.do(traffic.start())
        try:
            at_once(lambda: {(each.replica, each.feature) for each in traffic.seen} >= set(_pairs(urls, features)))
            yield traffic
        finally:
            self._background.do(traffic.stop(), limit_s=120)

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Redis is reachable and silent meanwhile, for everybody."""
        relays = (self.relay, *self.controller_relays)
        for relay in relays:
            relay.dark = True
        try:
            yield
        finally:
            for relay in relays:
                relay.dark = False

    def wait_for_answers(self, traffic: Traffic) -> None:
        """Until every replica has answered what was asked after this moment, a round of its callers."""
        now_s = time.time()
        at_once(lambda: all(len(traffic.since(now_s, replica)) >= ANSWERS for replica in REPLICAS))

    def completed(self, feature: str) -> Callable[[], bool]:
        return lambda: self.flags()[feature].progress.phase == Phase.COMPLETED

    def release(self, controller: int) -> None:
        """Deliver what a controller's relay kept back."""
        self._background.do(self.controller_relays[controller].release())

    def begin_ramp(
        self, feature: str, shares: Sequence[int], bake: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Give a feature a ramp of these steps, and `more` of its flag, and start it."""
        steps = [{"share": share, "bake": bake} for share in shares]
        self.replicas[1].begin_ramp(feature, {**more, "ramp": {"steps": steps}})

    def ledger(self, feature: str) -> Ledger:
        return Ledger(feature, [entry for entry in self.audit() if entry.feature == feature])

    def audit(self) -> list[AuditEntry]:
        """The whole log, read past all gateways."""
        return self.with_store(_read_audit)

    def flags(self) -> dict[str, FeatureFlag]:
        """What is stored."""
        return self.with_store(lambda store: store.load())[1]

    def replayed(self) -> dict[str, FeatureFlag]:
        return replay(self.audit())

    def version(self) -> int:
        return self.with_store(lambda store: store.version())

    def settle(self) -> float:
        """Wait until every worker of every replica has what is stored now; the seconds that took."""
        version, began_s = self.version(), time.monotonic()
        for replica in self.replicas:
            at_once(lambda replica=replica: replica.samples()["glidepath_snapshot_version"] >= version)
        return time.monotonic() - began_s

    def commit_share(self, feature: str, share_millipct: int) -> None:
        """Set a share and see that it is in force everywhere."""
        answer = self.replicas[0].set_share(feature, share_millipct)
        assert answer.status_code == 200, answer.text
        self.settle()

    def with_store(self, read: Callable[[Any], Any]) -> Any:
        return self._background.do(in_store(self.redis.url, read))

    def set_faults(self, upstream: str, *faults: Mapping[str, Any]) -> None:
        """What an upstream does to requests from now on."""
        answer = httpx2.post(f"{self._upstreams[upstream]}/simulator/faults", json={"faults": faults}, timeout=30)
        assert answer.status_code == 200, answer.text

    def converse(self, feature: str, names: Sequence[str]) -> set[str]:
        """Each name begins a conversation at every replica; who of them had no answer once."""
        urls = [replica.url for replica in self.replicas]
        return self._background.do(converse(urls, feature, names, KEY))


def _pairs(replicas: Mapping[int, str], features: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((replica, feature) for replica in replicas for feature in features)


async def in_store(url: str, read: Callable[[Any], Any]) -> Any:
    """What is read of a store past all gateways."""
    store = open_store(url)
    try:
        return await read(store)
    finally:
        await store.close()


async def _read_audit(store: Any) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    while more := await store.audit(found[-1].id if found else 0):
        found += more
    return found


def config(relay: Relay, upstreams: Mapping[str, str], features: Sequence[str], number: int, *, enabled: bool) -> str:
    """A configuration for gateways and controllers, with a folder of its own for the process's state."""
    text = f"[server]\nport = 0\nworkers = {WORKERS[number % len(WORKERS)]}\n[admin]\nport = 0\n"
    text += f'[store]\nurl = "redis://127.0.0.1:{relay.port}/0"\nstate_dir = "state-{number}"\n'
    text += f"[controller]\nport = 0\nenabled = {str(enabled).lower()}\nevery_s = {EVERY_S}\nlease_s = {LEASE_S}\n"
    for name, kind in UPSTREAMS.items():
        text += f'[upstreams.{name}]\nkind = "{kind}"\nbase_urls = ["{upstreams[name]}/v1"]\nmodel = "{name}-sim"\n'
    for feature in features:
        text += f'[features.{feature}]\ncandidate = "inhouse"\nbaseline = "partner"\n'
    return text


def start_upstream(start: Callable[..., Any], name: str) -> Any:
    instant = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
    return start("simulator", "--port", "0", "--model", f"{name}-sim", *instant)


@contextmanager
def running_cluster(
    start: Callable[..., Any],
    folder: Path,
    background: Background,
    features: Sequence[str],
    *,
    own_controllers: int = 0,
) -> Iterator[Cluster]:
    """Start Redis, upstreams and replicas."""
    cluster = Cluster(partial(start, GLIDEPATH_BOOTSTRAP_KEY=KEY), folder, background, features)
    try:
        cluster.start_replicas(own_controllers)
        yield cluster
    finally:
        cluster.close()


def dark_s() -> float:
    """How long Redis is black-holed: as long as promised where time is no matter."""
    return float(os.environ.get("GLIDEPATH_TEST_DARK_S", "30" if os.environ.get("CI") else "12"))
