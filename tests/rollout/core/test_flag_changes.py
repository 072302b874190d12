import pytest
from msgspec.structs import replace

from rollout.core import flag_changes as changes
from rollout.core import ramp_commands as commands
from rollout.core.errors import ShareIncreaseRefused
from rollout.core.model import FeatureFlag, Kill
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import GateMemory, Phase, Progress, RampPlan, Step
from rollout.core.ramp_table import Ramp, Transition

ANN = Order("ann", "errors", 1_000.0)
PLAN = RampPlan(steps=(Step(share=1_000), Step(share=50_000)))
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=900.0)
DRAFT = FeatureFlag(feature="f", candidate="inhouse", baseline="partner", revision=3, share_millipct=1_000)
FLAG = replace(DRAFT, ramp=PLAN, progress=RUNNING)
MEMORY = GateMemory(attempt=1, blind_since_s=950.0)
KILLED = replace(FLAG, kill=Kill(on=True, actor="ann", at_s=1_000.0, reason="errors"))


def advance(ramp: Ramp) -> Transition:
    return commands.advance(ramp, ANN)


def test_a_step_changes_share_and_progress_alone() -> None:
    changed = changes.by_step(FLAG, MEMORY, advance)
    progress = changed.flag.progress
    assert changed.flag == replace(FLAG, share_millipct=50_000, progress=progress)
    assert (progress.step, progress.phase, changed.memory) == (1, Phase.RUNNING, MEMORY)
    assert [effect.text for effect in changed.effects] == ["step 1"]


@pytest.mark.parametrize(("flag", "here"), [(FLAG, True), (KILLED, False)])
def test_no_step_raises_what_is_killed(flag: FeatureFlag, here: bool) -> None:  # noqa: FBT001  a case
    with pytest.raises(ShareIncreaseRefused):
        changes.by_step(flag, MEMORY, advance, killed_locally=here)


def test_a_kill_pauses_what_runs_and_keeps_the_share() -> None:
    changed = changes.killed(FLAG, MEMORY, ANN)
    assert (changed.flag.kill, changed.flag.share_millipct) == (KILLED.kill, 1_000)
    assert changed.flag.progress.phase is Phase.PAUSED
    assert changed.memory == GateMemory(attempt=1)
    assert changes.killed(changed.flag, MEMORY, Order("bob", "again", 2_000.0)) == (changed.flag, MEMORY, ())


def test_a_kill_of_a_flag_without_a_ramp_changes_the_kill_alone() -> None:
    assert changes.killed(DRAFT, GateMemory(), ANN).flag == replace(DRAFT, kill=KILLED.kill)


@pytest.mark.parametrize(("flag", "here"), [(KILLED, False), (FLAG, True)])
def test_lifting_a_kill_leads_to_a_pause(flag: FeatureFlag, here: bool) -> None:  # noqa: FBT001  a case
    changed = changes.lifted(flag, MEMORY, ANN, killed_locally=here)
    assert (changed.flag.kill.on, changed.flag.share_millipct) == (False, 1_000)
    assert changed.flag.progress.phase is Phase.PAUSED


def test_where_nothing_is_killed_nothing_is_lifted() -> None:
    assert changes.lifted(FLAG, MEMORY, ANN) == (FLAG, MEMORY, ())
