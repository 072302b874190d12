import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.automation import Automation, AutomationRules, holder_name
from rollout.core import ramp_commands as commands
from rollout.core.audit import record_change
from rollout.core.errors import InvalidArgument
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import GateMemory, Phase, RampPlan, Step
from rollout.core.ramp_plan import Findings
from rollout.follower import Follower
from rollout.webhooks import Receiver

DEADLINE_S = 20.0
RULES = AutomationRules(every_s=0.01, lease_s=1.0)


class Closing:
    def __init__(self) -> None:
        self.closed = 0

    async def read(self, query: Any) -> Any:
        raise AssertionError(query)

    async def close(self) -> None:
        self.closed += 1


async def begin(store: Any) -> None:
    """A ramp of one step that has been started."""
    now_s = WallClock().now_s()
    before = await store.get("draft")
    flag = replace(before, ramp=RampPlan(steps=(Step(share=1_000),)))
    order = commands.Order("ann", "go", now_s)
    made = commands.create(ramp_of(flag, GateMemory()), order, Findings())
    made = commands.start(ramp_of(applied(flag, made), GateMemory()), order)
    after = applied(flag, made)
    entry = record_change(before, after, actor="ann", command="start", reason="go", at_s=now_s)
    await store.put_if_revision(after, before.revision, entry)


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():  # noqa: ASYNC110  processes tell nobody
            await asyncio.sleep(0.01)


async def test_a_ramp_is_walked_its_changes_told_and_all_given_back(
    seeded, store_path, tmp_path: Path, web, answer
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"whsec_{base64.b64encode(bytes(32)).decode()}\n")
    hook = await web(answer(200))
    receivers = (Receiver("r", f"{hook.url}/hook", secret, frozenset({"rollout.complete"})),)
    follower, source = Follower(seeded, WallClock()), Closing()
    automation = Automation(seeded, follower, WallClock(), RULES._replace(receivers=receivers), source)
    running = asyncio.get_running_loop().create_task(automation.run())
    await begin(seeded)

    async def is_told() -> bool:
        return bool(hook.asked)

    await until(is_told)
    assert (await seeded.get("draft")).progress.phase is Phase.COMPLETED
    assert automation.controller.leading
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (automation.controller.leading, source.closed) == (False, 1)
    other = open_store(f"sqlite:///{store_path}")
    assert await other.acquire_lease("controller", "next", 1.0) is not None
    await other.close()


async def test_a_receiver_that_cannot_be_meant_is_refused(seeded) -> None:
    rules = RULES._replace(receivers=(Receiver("r", "ftp://x", Path("s")),))
    with pytest.raises(InvalidArgument, match="webhook 'r'"):
        Automation(seeded, Follower(seeded, WallClock()), WallClock(), rules, None)


def test_each_start_has_a_name_of_its_own() -> None:
    assert holder_name() != holder_name()
