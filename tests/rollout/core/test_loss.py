import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.evaluate import compile_snapshot
from rollout.core.loss import kept
from rollout.core.model import Eligibility, FeatureFlag, Holdout, Kill, State, Subject
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import Cause, Phase, Progress, RampPlan, RolledBack, Step

PLAN = RampPlan((Step(10_000), Step(25_000), Step(90_000)))
FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", revision=3, share_millipct=25_000, ramp=PLAN)
KILLED = Kill(on=True, actor="ann", at_s=1.0, reason="r")
ORDER = Order("bob", "the disk is gone", 100.0)
BACK = RolledBack(Cause.GATE, 50.0, 90.0, 50.0, 0)
PROGRESSES = {
    Phase.DRAFT: Progress(),
    Phase.READY: Progress(Phase.READY),
    Phase.RUNNING: Progress(Phase.RUNNING, 2, 1, 10.0, 20.0),
    Phase.PAUSED: Progress(Phase.PAUSED, 2, 1),
    Phase.MONITORING: Progress(Phase.MONITORING, 2, 2, monitoring_since_s=30.0),
    Phase.COMPLETED: Progress(Phase.COMPLETED, 2, 2),
    Phase.ROLLED_BACK: Progress(Phase.ROLLED_BACK, 2, 1, rolled_back=BACK),
}
USERS = [Subject(user=f"user-{number}") for number in range(60)]
flags = st.builds(
    lambda phase, **fields: replace(FLAG, progress=PROGRESSES[phase], **fields),
    phase=st.sampled_from(Phase),
    share_millipct=st.sampled_from([0, 10_000, 40_000, 90_000, 100_000]),
    kill=st.sampled_from([Kill(), Kill(), KILLED]),
    state=st.sampled_from([State.ENABLED, State.ENABLED, State.DISABLED]),
    salt=st.sampled_from(["", "", "other"]),
    holdout=st.sampled_from([Holdout(), Holdout(50_000)]),
    eligibility=st.sampled_from([Eligibility(), Eligibility(attributes={"==": [{"var": "user"}, "user-1"]})]),
)


def treated(flag: FeatureFlag | None) -> set[str | None]:
    if flag is None:
        return set()
    decide = compile_snapshot({"f": flag}, 1).features["f"].decide
    return {subject.user for subject in USERS if decide(subject).arm == "candidate"}


@given(st.none() | flags, st.none() | flags)
def test_nobody_is_treated_who_was_not_before_and_nothing_rises_by_itself(
    known: FeatureFlag | None, found: FeatureFlag | None
) -> None:
    if known is None and found is None:
        return
    after = kept(known, found, ORDER)
    assert treated(after) <= treated(known)
    assert after.progress.phase not in {Phase.RUNNING, Phase.MONITORING}
    if known is not None:
        assert after.kill.on or not known.kill.on
        assert after.progress.phase is Phase.ROLLED_BACK or known.progress.phase is not Phase.ROLLED_BACK
    if found is not None:
        assert treated(after) <= treated(found)
        assert after.kill.on or not found.kill.on
        assert after.revision == found.revision


@pytest.mark.parametrize(("known", "found", "share"), [(25_000, 90_000, 25_000), (25_000, 1_000, 1_000)])
def test_the_smaller_share_stays_and_pauses_what_was_under_way(known: int, found: int, share: int) -> None:
    running = replace(FLAG, share_millipct=found, progress=PROGRESSES[Phase.RUNNING], owner="found")
    after = kept(replace(FLAG, share_millipct=known), running, ORDER)
    assert (after.share_millipct, after.owner, after.progress.phase) == (share, "found", Phase.PAUSED)
    assert after.progress.paused is not None
    assert (after.progress.paused.actor, after.progress.paused.reason) == ("bob", "the disk is gone")
    assert after.progress.step == PLAN.step_at(share)


def test_what_the_store_lacks_begins_anew_as_it_was_known() -> None:
    known = replace(FLAG, progress=PROGRESSES[Phase.RUNNING], kill=KILLED, owner="known")
    after = kept(known, None, ORDER)
    assert after == replace(known, revision=0, share_millipct=0, progress=Progress(Phase.READY, 2))
    assert kept(replace(known, ramp=None), None, ORDER).progress == Progress(Phase.DRAFT, 2)


def test_a_rollback_that_the_store_lost_is_rolled_back_again() -> None:
    known = replace(FLAG, share_millipct=0, progress=PROGRESSES[Phase.ROLLED_BACK])
    after = kept(known, replace(FLAG, progress=PROGRESSES[Phase.RUNNING]), ORDER)
    assert (after.share_millipct, after.progress.phase) == (0, Phase.ROLLED_BACK)
    assert after.progress.rolled_back is not None
    assert after.progress.rolled_back.cooldown_ends_s == 100.0 + PLAN.cooldown_s
    assert kept(known, None, ORDER).progress == known.progress
    assert kept(known, replace(known, revision=7), ORDER).progress.rolled_back == BACK


def test_without_a_flag_there_is_nothing_to_keep() -> None:
    with pytest.raises(ValueError, match="no flag"):
        kept(None, None, ORDER)
