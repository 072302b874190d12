"""Two workers over a real Redis that are killed, and replaced: what they gather counts once, and goes on."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rollout.core.ramp_model import Phase
from tests.system.rollout.cluster import Redis, Replica, config, in_store, start_upstream
from tests.system.rollout.gathered import Gathered
from tests.system.rollout.traffic import converse
from tests.system.traps.caller import KEY
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

    from tests.system.rollout.background import Background

pytestmark = pytest.mark.system

KILLS = 3
WAITS_S = 6
"""The age of requests of users: longer than it takes to send them, and to have the workers replaced."""
GATE = {"role": "hard", "source": "evidence", "metric": "errors", "alpha": 0.05}
DRAWN = {
    "conversations": {
        "gates": [{"name": "fine", "kind": "noninferiority", "margin": 0.3, **GATE}],
        "evidence": {"age": "1s"},
    },
    "users": {
        "bucketBy": "user",
        "gates": [{"name": "worse", "kind": "harm", "margin": 0.3, **GATE}],
        "evidence": {"age": f"{WAITS_S}s"},
    },
}


class Gateway:
    """One gateway with two workers and a controller."""

    def __init__(self, start: Callable[..., Any], folder: Path, background: Background, store: Redis) -> None:
        self._background, self.redis = background, store
        upstreams = {name: start_upstream(start, name) for name in ("inhouse", "partner")}
        urls = {name: each.shown(r"READY (http://\S+)/v1")[1] for name, each in upstreams.items()}
        (folder / "gateway.toml").write_text(config(self.redis, urls, DRAWN, 0, enabled=True), "utf-8")
        self.command = start("gateway", "--config", "gateway.toml")
        self.replica = Replica(self.command)
        gathered = Gathered(self._with_store)
        self.units, self.requests, self.shown = gathered.units, gathered.requests, gathered.shown
        for feature, more in DRAWN.items():
            self._begin(feature, more)

    def close(self) -> None:
        self.replica.close()
        assert self.command.stop() == 0

    @property
    def workers(self) -> list[int]:
        pid = self.command.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]

    def ready(self, *gone: int) -> bool:
        """Whether both workers serve, and none of those that are to be gone."""
        alive = self.replica.samples().get('glidepath_workers{state="ready"}', 0.0)
        return alive == 2 and len(self.workers) == 2 and not {*gone} & {*self.workers}

    def send(self, feature: str, prefix: str, count: int, turns: int = 1) -> int:
        """Ask as so many conversations, each a user; how many of them had an answer each time."""
        return count - len(self._background.do(self._converse(feature, prefix, count, turns)))

    def begin_to_send(self, feature: str, prefix: str, count: int) -> Future[set[str]]:
        return self._background.begin(self._converse(feature, prefix, count, 1))

    def _begin(self, feature: str, more: dict[str, Any]) -> None:
        self.replica.begin_ramp(feature, {**more, "ramp": {"steps": [{"share": 50_000, "bake": "1h"}]}})
        at_once(lambda: self.replica.feature(feature)["share_millipct"] == 50_000)
        version = self._with_store(lambda store: store.version())
        at_once(lambda: self.replica.samples()["glidepath_snapshot_version"] >= version)

    def _with_store(self, read: Callable[[Any], Any]) -> Any:
        return self._background.do(in_store(self.redis.url, read))

    def _converse(self, feature: str, prefix: str, count: int, turns: int) -> Coroutine[Any, Any, set[str]]:
        names = [f"{prefix}-{number}" for number in range(count)] * turns
        return converse([self.replica.url], feature, names, KEY)


@pytest.fixture(scope="module")
def store(need_redis: None, module_folder: Path) -> Iterator[Redis]:
    started = Redis(module_folder)
    yield started
    started.kill()


@pytest.fixture(scope="module")
def gateway(
    store: Redis, module_command: Callable[..., Any], module_folder: Path, background: Background
) -> Iterator[Gateway]:
    started = Gateway(partial(module_command, GLIDEPATH_BOOTSTRAP_KEY=KEY), module_folder, background, store)
    yield started
    started.close()


def test_a_worker_that_is_killed_doubles_no_unit_and_the_ramp_goes_on(gateway: Gateway) -> None:
    feature, sent = "conversations", 40
    assert gateway.send(feature, "before", sent, turns=2) == sent
    at_once(lambda: gateway.units(feature) >= sent)
    assert gateway.units(feature) == sent
    for kill in range(KILLS):
        victim = gateway.workers[kill % 2]
        under_way = gateway.begin_to_send(feature, f"kill{kill}", 60)
        os.kill(victim, signal.SIGKILL)
        under_way.result(60)
        sent += 60
        at_once(lambda victim=victim: gateway.ready(victim))
        assert gateway.units(feature) <= sent
    counted = gateway.units(feature)
    answered = gateway.send(feature, "after", 60, turns=2)
    sent += 60
    assert answered == 60
    at_once(lambda: gateway.units(feature) >= 40 + answered and counted < gateway.units(feature))
    at_once(lambda: (shown := gateway.shown(feature)) and (shown.verdicts[0].samples or 0) >= 40 + answered)
    assert 40 + answered <= gateway.units(feature) <= sent
    shown = gateway.shown(feature)
    assert shown is not None
    assert shown.phase is Phase.RUNNING


def test_workers_that_are_replaced_hand_over_requests_of_users(gateway: Gateway) -> None:
    """All wait for their age when their workers end: none is lost, none counts twice."""
    feature, before = "users", gateway.workers
    assert gateway.requests(feature) == 0
    assert gateway.send(feature, "user", 40, turns=2) == 40
    os.kill(gateway.command.process.pid, signal.SIGHUP)
    at_once(lambda: gateway.ready(*before))
    at_once(lambda: gateway.requests(feature) >= 80)
    assert gateway.requests(feature) == 80
