import asyncio
import gc
import logging

import pytest

from gateway.loop import loop_factory, repeat, spare_collections
from gateway.start_error import StartError


def test_the_loop_works_with_signals_and_sockets() -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.get_loop().run_until_complete(asyncio.sleep(0, "turned")) == "turned"


def test_what_is_there_is_not_looked_at_again() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        spare_collections()
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold()[0] > before[0]
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


async def test_a_step_goes_on_after_any_fault(until, caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []

    async def step() -> None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise ZeroDivisionError("a defect")
        if len(turns) == 2:
            raise StartError("foreseen", "hint")

    with caplog.at_level(logging.INFO):
        task = asyncio.get_running_loop().create_task(repeat(0.0, step))
        await until(lambda: len(turns) > 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    # What is foreseen is told elsewhere; a defect is told with where it happened.
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "step" in record.getMessage()
