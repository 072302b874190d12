"""What tests of the demo share: an operator port and its client."""

from collections.abc import AsyncIterator

import pytest

from loadtests.demo.control import Operator
from tests.loadtests.demo.operator_port import OperatorPort


@pytest.fixture
async def port() -> AsyncIterator[OperatorPort]:
    """An operator port."""
    server = OperatorPort()
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def operator(port: OperatorPort) -> AsyncIterator[Operator]:
    """A client of it."""
    async with Operator(port.url, "k") as client:
        yield client
