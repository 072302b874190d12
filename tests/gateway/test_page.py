"""One scrape of a gateway, without any worker there."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.fleet import Configuration, Fleet
from gateway.listeners import Listeners
from gateway.page import Page
from gateway.settings import Settings
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.follower import Follower


@pytest.fixture
async def fleet(stack) -> Fleet:
    settings = Settings.model_validate({"server": {"port": 0}, "admin": {"port": 0}})
    listeners = Listeners(settings)
    stack.callback(listeners.close)
    return Fleet(Configuration(settings, {}, {}, {}), listeners, lambda *_: None)


@pytest.fixture
async def follower(tmp_path: Path, stack) -> Follower:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    return Follower(store, WallClock())


def scrape(fleet: Fleet, follower: Follower) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page(fleet, follower))
    return generate_latest(registry).decode()


async def test_every_state_and_the_build_show_though_there_is_no_worker(fleet: Fleet, follower: Follower) -> None:
    page = scrape(fleet, follower)
    for state in ("starting", "ready", "draining"):
        assert f'glidepath_workers{{state="{state}"}} 0.0\n' in page
    assert 'state="gone"' not in page
    assert "glidepath_build_info{" in page


async def test_restarts_are_counted_by_reason(fleet: Fleet, follower: Follower) -> None:
    fleet.restarts["memory"] = fleet.restarts.get("memory", 0) + 2
    assert 'glidepath_worker_restarts_total{reason="memory"} 2.0\n' in scrape(fleet, follower)
