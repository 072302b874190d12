"""A SQLite store, a clock that is set by hand, and a follower that is driven by hand."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollout.adapters import open_store
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features

WANTED = {"draft": ("inhouse", "partner"), "summarize": ("inhouse", "partner")}


class ManualClock:
    def __init__(self) -> None:
        self.at_s = 1_000.0

    def now_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(store_path: Path) -> AsyncIterator[Store]:
    opened = open_store(f"sqlite:///{store_path}")
    yield opened
    await opened.close()


@pytest.fixture
async def seeded(store: Store, clock: ManualClock) -> Store:
    await ensure_features(store, WANTED, clock)
    return store


@pytest.fixture
def kill_path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "killed"


@pytest.fixture
async def follower(seeded: Store, clock: ManualClock, kill_path: Path) -> Follower:
    made = Follower(seeded, clock, kill_file=kill_path)
    assert await made.refresh()
    return made
