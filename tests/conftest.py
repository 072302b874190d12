"""What every test of the project shares: Hypothesis profiles and waiting for something to become true."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import settings

# No deadline: a slow machine is no failure. No database: a run leaves nothing behind and depends on nothing before it.
settings.register_profile("glidepath", deadline=None, database=None)
# For tests/mirror_coverage.py, where random examples must not decide what is covered.
settings.register_profile("mirror", deadline=None, database=None, derandomize=True, max_examples=5)
settings.load_profile("glidepath")

DEADLINE_S = 20.0


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait, with a deadline, for a condition that other tasks bring about."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  whoever brings it about has no event to set
                await asyncio.sleep(0.002)

    return wait
