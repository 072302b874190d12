from pathlib import Path

import pytest
from msgspec.structs import replace

from rollout.automation import Automation, AutomationRules
from rollout.core.audit import record_change
from rollout.core.gates import Result, Verdict
from rollout.core.position import Standing
from rollout.core.ramp_model import Phase, Progress, RampPlan, Step
from rollout.core.ramp_shown import Shown
from rollout.core.ramp_table import Hold, HoldReason
from rollout.core.webhooks import Attempted
from rollout.gauges import ramp_families
from rollout.webhooks import Receiver


def values(families) -> dict[tuple[str, ...], float]:
    """What is not zero, by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.value
    }


@pytest.fixture
async def running(seeded, follower, clock) -> None:
    before = await seeded.get("draft")
    after = replace(
        before, ramp=RampPlan(steps=(Step(share=1_000),)), progress=Progress(phase=Phase.RUNNING, attempt=1, step=2)
    )
    entry = record_change(before, after, actor="ann", command="start", reason="r", at_s=clock.now_s())
    await seeded.put_if_revision(after, before.revision, entry)
    await follower.refresh()


async def test_ramps_and_the_stores_standing_show_in_every_process(running, follower) -> None:
    assert values(ramp_families(follower, None)) == {
        ("glidepath_ramp_phase", "draft", "RUNNING"): 1.0,
        ("glidepath_ramp_step", "draft"): 2.0,
        ("glidepath_store_standing", "follows"): 1.0,
    }
    follower.standing = Standing.WENT_BACK
    assert ("glidepath_store_standing", "went_back") in values(ramp_families(follower, None))


async def test_what_the_controller_saw_and_whom_it_told_show_where_it_leads(running, seeded, follower, clock) -> None:
    rules = AutomationRules(receivers=(Receiver("r", "http://127.0.0.1:9", Path("none")),))
    automation = Automation(seeded, follower, clock, rules, None)
    await automation.controller.turn()
    verdict = Verdict("errors", Result.FAIL, "too many", 1.0, value=0.5)
    automation.controller.shown["draft"] = Shown(
        2, Phase.RUNNING, holds=(Hold(HoldReason.FAILING, 1.0, 2.0), Hold(HoldReason.BAKING)), verdicts=(verdict,)
    )
    automation.controller.conflicts = 3
    automation.webhooks.counts["r", Attempted.FAILED] += 2
    found = values(ramp_families(follower, automation))
    assert {name: value for name, value in found.items() if name[0] != "glidepath_ramp_phase"} == {
        ("glidepath_ramp_step", "draft"): 2.0,
        ("glidepath_store_standing", "follows"): 1.0,
        ("glidepath_controller_leading",): 1.0,
        ("glidepath_controller_conflicts_total",): 3.0,
        ("glidepath_ramp_hold", "draft", "failing"): 1.0,
        ("glidepath_ramp_hold", "draft", "baking"): 1.0,
        ("glidepath_gate_verdict", "draft", "errors", "FAIL"): 1.0,
        ("glidepath_gate_value", "draft", "errors"): 0.5,
        ("glidepath_webhook_attempts_total", "r", "failed"): 2.0,
    }
    zeros = [each for family in ramp_families(follower, automation) for each in family.samples if each.value == 0]
    assert {"delivered", "given_up"} <= {each.labels.get("outcome") for each in zeros}
    await automation.webhooks.close()
