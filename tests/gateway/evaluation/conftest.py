"""What the tests of an evaluation share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.evaluation.models import Model

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def model() -> Iterator[Model]:
    """One model."""
    running = Model()
    yield running
    running.stop()
