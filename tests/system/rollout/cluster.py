"""Three replicas of the gateway, one Redis, two upstreams: processes of their own on this host."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from rollout.adapters import open_store
from rollout.core.audit import AuditEntry, replay
from tests.system.rollout.ledger import Ledger
from tests.system.rollout.relay import Relay
from tests.system.rollout.traffic import Traffic
from tests.system.traps.caller import KEY
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rollout.core.model import FeatureFlag
    from tests.system.rollout.background import Background

REPLICAS = range(3)
WORKERS = (2, 1, 1)
EXPIRY_S = 2.0
"""Within which a controller's lease ends."""


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
        lines = self._admin.get("/metrics").text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

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

    def command_of(self, feature: str, verb: str, body: Mapping[str, Any] | None = None, **headers: str) -> Any:
        """Carry out a verb of the API; its answer, which must be good."""
        answer = self.api.post(
            f"/features/{feature}/{verb}", json={"reason": "a test", **(body or {})}, headers=headers
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


class Cluster:
    """All of it; Redis is reached through the relay only, but for what the test itself reads."""

    def __init__(self, redis: Redis, relay: Relay, replicas: Sequence[Replica], background: Background) -> None:
        self.redis, self.relay, self.replicas, self._background = redis, relay, tuple(replicas), background

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
        """Redis is reachable and silent meanwhile."""
        self.relay.dark = True
        try:
            yield
        finally:
            self.relay.dark = False

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
        async def once() -> Any:
            store = open_store(self.redis.url)
            try:
                return await read(store)
            finally:
                await store.close()

        return self._background.do(once())


def _pairs(replicas: Mapping[int, str], features: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((replica, feature) for replica in replicas for feature in features)


async def _read_audit(store: Any) -> list[AuditEntry]:
    found: list[AuditEntry] = []
    while more := await store.audit(found[-1].id if found else 0):
        found += more
    return found


def config(store_url: str, upstreams: Mapping[str, str], features: Sequence[str], number: int, more: str = "") -> str:
    """A replica's configuration, with a folder of its own for its state."""
    text = f"[server]\nport = 0\nworkers = {WORKERS[number % len(WORKERS)]}\n[admin]\nport = 0\n{more}"
    text += f'[store]\nurl = "{store_url}"\nstate_dir = "state-{number}"\n'
    for name, kind in (("inhouse", "vllm"), ("partner", "openai")):
        text += f'[upstreams.{name}]\nkind = "{kind}"\nbase_urls = ["{upstreams[name]}/v1"]\nmodel = "{name}-sim"\n'
    for feature in features:
        text += f'[features.{feature}]\ncandidate = "inhouse"\nbaseline = "partner"\n'
    return text


def start_upstream(start: Callable[..., Any], name: str) -> Any:
    instant = ("--ttft-median-s", "0", "--inter-token-median-s", "0")
    return start("simulator", "--port", "0", "--model", f"{name}-sim", *instant)


@contextmanager
def running_cluster(
    start: Callable[..., Any], folder: Path, background: Background, features: Sequence[str], more: Sequence[str]
) -> Iterator[Cluster]:
    """Start everything at once. `more`: further sections of each replica's configuration."""
    redis = Redis(folder)
    relay = Relay(redis.port)
    background.do(relay.start())
    commands = {name: start_upstream(start, name) for name in ("inhouse", "partner")}
    upstreams = {name: command.shown(r"READY (http://\S+)/v1")[1] for name, command in commands.items()}
    store_url = f"redis://127.0.0.1:{relay.port}/0"
    for number in REPLICAS:
        text = config(store_url, upstreams, features, number, more[number])
        (folder / f"replica-{number}.toml").write_text(text, "utf-8")
    gateways = [start("gateway", "--config", f"replica-{n}.toml", GLIDEPATH_BOOTSTRAP_KEY=KEY) for n in REPLICAS]
    replicas = [Replica(gateway) for gateway in gateways]
    try:
        yield Cluster(redis, relay, replicas, background)
    finally:
        for replica in replicas:
            replica.close()
        background.do(relay.close())
        redis.kill()


def dark_s() -> float:
    """How long Redis is black-holed: as long as promised where time is no matter."""
    return float(os.environ.get("GLIDEPATH_TEST_DARK_S", "30" if os.environ.get("CI") else "12"))


def shown(found: Any) -> str:
    """Findings of a run for a failed assertion: few are enough."""
    return json.dumps(
        {name: [each._asdict() for each in value[:3]] for name, value in found._asdict().items()}, indent=1
    )
