"""An admin's store with keys, a clock set by hand, and keys that count up instead of being random."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from rollout.core.keys import KeyRecord, digest, key_id
from tests.rollout.stores import Outage


@pytest.fixture
def make_key() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"gp-secret-{next(numbers)}"


@pytest.fixture(scope="session")
def first() -> KeyRecord:
    """The key that an empty store begins with."""
    key = digest("gp-first")
    return KeyRecord(
        id=key_id(key),
        digest=key,
        name="dev",
        tenant="default",
        roles=("admin",),
        model_bypass=True,
        created_at_s=500.0,
    )


@pytest.fixture
def outage(store_path: Path) -> Outage:
    return Outage(store_path)
