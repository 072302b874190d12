"""The cluster that the tests of one file share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.system.rollout.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def need_redis() -> None:
    if shutil.which("redis-server") is None:
        cause = "redis-server is not installed: the tests of three replicas DID NOT RUN"
        pytest.fail(cause) if os.environ.get("CI") else pytest.skip(cause)


Measured = Callable[[str, float], None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Keep a figure for whoever runs pytest with -rP: figures of a busy machine are for reading, not for judging."""
    return lambda what, value: request.node.add_report_section("call", "measured", f"{what}: {value:.2f}")


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    with Background() as started:
        yield started
