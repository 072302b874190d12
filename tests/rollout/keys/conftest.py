"""An admin's store with keys, a clock set by hand, and keys that count up instead of being random."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from fastapi import Header, HTTPException

from rollout.api.router import Authorize
from rollout.core.keys import KeyRecord, digest, key_id


def authorize(role: str) -> Callable[..., str]:
    """The simplest mounting application: the header names the actor as "role:name"."""

    def actor(authorization: str = Header(default="")) -> str:
        held, _, name = authorization.removeprefix("Bearer ").partition(":")
        if not name:
            raise HTTPException(401, "a key is needed", {"WWW-Authenticate": "Bearer"})
        if held != role:
            raise HTTPException(403, f"the key lacks the role {role}")
        return name

    return actor


@pytest.fixture
def authorizer() -> Authorize:
    return authorize


@pytest.fixture
def make_key() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"gp-secret-{next(numbers)}"


@pytest.fixture
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


class Outage:
    """Takes the store away and brings it back."""

    def __init__(self, store_path: Path) -> None:
        self._path, self._away = store_path, store_path.with_name("away")

    def begin(self) -> None:
        self._path.rename(self._away)

    def end(self) -> None:
        self._away.rename(self._path)


@pytest.fixture
def outage(store_path: Path) -> Outage:
    return Outage(store_path)
