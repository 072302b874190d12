import asyncio

import pytest

from loadtests.demo.control import Operator
from loadtests.demo.errors import DemoError
from loadtests.demo.watch import Watcher
from tests.loadtests.demo.operator_port import OperatorPort, view

LIMIT_S = 20.0


def entry(revision: int, command: str, share: int) -> dict[str, object]:
    plain = {"at_s": 1.0, "actor": "controller", "command": command, "reason": "", "details": {}, "verdicts": []}
    return plain | {"revision_after": revision, "share_after_millipct": share}


async def test_a_ramp_is_followed_until_it_is_where_it_is_wanted(port: OperatorPort, operator: Operator) -> None:
    port.answer("GET", "/features/f", *[view("f", revision, 1_000 * revision, "RUNNING") for revision in (1, 1, 2)])
    first, second = entry(1, "start", 1_000), entry(2, "advance", 2_000)
    port.answer("GET", "/features/f/history", {"entries": [first]}, {"entries": [second, first]})
    watcher = Watcher(operator, "f")
    looking = asyncio.ensure_future(watcher.run())
    try:
        assert await watcher.until(lambda now: now.share_millipct == 2_000, LIMIT_S)
    finally:
        looking.cancel()
    assert [stage.name for stage in watcher.stages] == ["1 %", "2 %"]
    # The audit log is read again only when there is something new.
    assert sum(asked.path.startswith("/api/v1/features/f/history") for asked in port.asked) == 2


@pytest.mark.parametrize("phase", ["PAUSED", "ROLLED_BACK"])
async def test_a_ramp_that_stopped_is_not_waited_for(port: OperatorPort, operator: Operator, phase: str) -> None:
    port.answer("GET", "/features/f", view("f", 1, 0, phase))
    port.answer("GET", "/features/f/history", {"entries": []})
    watcher = Watcher(operator, "f")
    assert not await watcher.until(lambda now: now.phase == "COMPLETED", LIMIT_S)
    assert await watcher.until(lambda now: now.phase == phase, LIMIT_S)


async def test_what_takes_too_long_is_given_up(port: OperatorPort, operator: Operator) -> None:
    port.answer("GET", "/features/f", view("f", 1, 0, "RUNNING"))
    port.answer("GET", "/features/f/history", {"entries": []})
    assert not await Watcher(operator, "f").until(lambda now: now.phase == "COMPLETED", 0.01)


async def test_nobody_to_ask_is_one_line(operator: Operator) -> None:
    with pytest.raises(DemoError, match="refused GET"):
        await Watcher(operator, "f").look()
