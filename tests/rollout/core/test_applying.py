from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from rollout.core.applying import (
    Known,
    Proposal,
    Wanted,
    findings_of,
    prerequisite_findings,
    propose,
    warnings_of,
)
from rollout.core.configuration import configured, created, diff
from rollout.core.errors import DocumentRefused, RampRefused, RevisionConflict
from rollout.core.model import Eligibility, FeatureFlag, Holdout, Prerequisite, Shadow, State, UnitKind
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import (
    Cause,
    Evidence,
    FailureRule,
    Gate,
    GateKind,
    Phase,
    Progress,
    RampPlan,
    Role,
    RolledBack,
    Step,
)
from tests.examples import fewer
from tests.rollout.core.document_strategies import PROGRESS, stores

NOW = 1_000.0
UNKNOWN = Known()
ORDER = Order("ann", "as in the repository", NOW)
PLAN = RampPlan(steps=(Step(share=1_000, bake="1h"), Step(share=50_000, bake="1h")))
OTHER_PLAN = RampPlan(steps=(Step(share=2_000, bake="1h"), Step(share=50_000, bake="1h")))
ERRORS = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="up",
    limit=0.05,
    failure=FailureRule(count=3),
)
JUDGE = Gate(
    name="quality", role=Role.SOFT, source="evidence", kind=GateKind.HARM, metric="judge", margin=0.1, alpha=0.05
)
COMPARED = Gate(
    name="failing",
    role=Role.HARD,
    source="evidence",
    kind=GateKind.HARM,
    metric="errors",
    margin=0.005,
    alpha=0.05,
)
BARE = FeatureFlag(feature="f", candidate="inhouse", baseline="partner", revision=4)
RUNNING = PROGRESS[Phase.RUNNING]


def ramped(phase: Phase = Phase.READY, **changes: Any) -> FeatureFlag:
    flag = replace(BARE, ramp=PLAN, gates=(ERRORS,), share_millipct=1_000, progress=PROGRESS[phase])
    return replace(flag, **changes)


def one(
    stored: FeatureFlag | None, wanted: FeatureFlag, *given_keys: str, known: Known = UNKNOWN, anew: bool = False
) -> Proposal:
    flags = {} if stored is None else {stored.feature: stored}
    document = {wanted.feature: Wanted(replace(wanted, revision=0), frozenset(given_keys))}
    (proposal,) = propose(flags, document, ORDER, known, anew=anew)
    return proposal


def commands(proposal: Proposal) -> list[str]:
    return [each.command for each in proposal.writes]


def test_a_new_feature_is_created_with_its_ramp_ready() -> None:
    made = one(None, replace(ramped(Phase.RUNNING), share_millipct=0))
    assert (made.action, made.revision, commands(made)) == ("create", 0, ["create"])
    after = made.writes[0].after
    assert (after.revision, after.share_millipct) == (0, 0)
    assert after.progress == Progress(phase=Phase.READY, proposer="ann")
    assert not made.warnings
    with_share = one(None, replace(BARE, share_millipct=5_000))
    assert with_share.writes[0].after.share_millipct == 5_000
    assert with_share.writes[0].after.progress == Progress()
    assert with_share.warnings == ("it begins with 5% for the candidate, at once",)


def test_the_same_configuration_is_no_change_in_any_phase() -> None:
    for phase in Phase:
        made = one(ramped(phase), ramped(Phase.DRAFT))
        assert (made.action, made.writes, made.changes, made.revision) == ("same", (), (), 4), phase


def test_a_ramp_at_rest_begins_anew_when_asked() -> None:
    for phase in Phase:
        made = one(ramped(phase), ramped(), anew=True)
        begins = phase in {Phase.DRAFT, Phase.COMPLETED}
        assert commands(made) == (["create"] if begins else []), phase
        if begins:
            assert made.writes[0].after.progress.phase is Phase.READY
    assert commands(one(BARE, BARE, anew=True)) == []


def test_another_plan_is_created_but_not_while_the_ramp_runs() -> None:
    after = {
        Phase.DRAFT: Phase.READY,
        Phase.READY: Phase.READY,
        Phase.PAUSED: Phase.PAUSED,
        Phase.COMPLETED: Phase.READY,
        Phase.ROLLED_BACK: Phase.ROLLED_BACK,
    }
    for phase in Phase:
        stored, wanted = ramped(phase), ramped(ramp=OTHER_PLAN)
        if phase in {Phase.RUNNING, Phase.MONITORING}:
            with pytest.raises(RampRefused, match=f"is {phase}: its plan") as fault:
                one(stored, wanted)
            assert "pause f`, then apply" in fault.value.hint
            continue
        made = one(stored, wanted)
        assert commands(made) == ["create"]
        assert made.writes[0].after.ramp == OTHER_PLAN
        assert made.writes[0].after.progress.phase is after[phase]
        assert made.writes[0].after.share_millipct == stored.share_millipct
        assert [change.path for change in made.changes] == ["ramp.steps[0].share"]


@pytest.mark.parametrize(
    ("change", "another"),
    [
        ({"gates": (ERRORS, replace(JUDGE, margin=0.2))}, True),
        ({"gates": (ERRORS, replace(JUDGE, min_samples=9))}, True),
        ({"gates": (ERRORS, JUDGE, replace(JUDGE, name="form", metric="form"))}, True),
        ({"gates": (ERRORS,)}, True),
        ({"evidence": Evidence(age="10s")}, True),
        ({"gates": (replace(ERRORS, limit=0.1), JUDGE)}, False),
        ({"ramp": OTHER_PLAN}, False),
    ],
)
def test_other_questions_to_the_evidence_are_another_attempt(change: dict[str, Any], *, another: bool) -> None:
    """Else each change of a margin would be a chance more, at the whole level, in one and the same attempt."""
    stored = ramped(Phase.PAUSED, gates=(ERRORS, JUDGE))
    made = one(stored, replace(stored, **change))
    after = made.writes[0].after.progress
    assert commands(made) == ["create"]
    assert (after.attempt - stored.progress.attempt, after.ramp_began_s == NOW) == (another, another)
    assert any("another attempt" in each for each in made.warnings) is another


def test_without_gates_of_evidence_its_ages_ask_nothing() -> None:
    stored = ramped(Phase.PAUSED)
    after = one(stored, replace(stored, evidence=Evidence(age="10s"))).writes[0].after.progress
    assert after.attempt == stored.progress.attempt


@pytest.mark.parametrize(
    "change",
    [{"salt": "new"}, {"hash_version": 2}, {"bucket_by": UnitKind.USER}, {"candidate": "newer"}],
    ids=lambda change: next(iter(change)),
)
def test_another_draw_ends_a_ramp_that_is_under_way(change: dict[str, Any]) -> None:
    for phase in Phase:
        made = one(ramped(phase), ramped(**change))
        ended = phase in {Phase.RUNNING, Phase.PAUSED, Phase.MONITORING, Phase.ROLLED_BACK}
        assert commands(made) == (["end", "create"] if ended else ["create"]), phase
        if ended:
            first = made.writes[0].after
            assert first.progress.phase is Phase.DRAFT
            assert configured(first, ramped()) == first, "the configuration is still the old one"
        last = made.writes[-1].after
        assert (last.progress.phase, last.share_millipct) == (Phase.READY, 1_000)
        assert diff(last, configured(last, ramped(**change))) == ()
        assert any("at once" in each or "drawn anew" in each for each in made.warnings)


def test_a_salt_that_says_what_held_already_ends_nothing() -> None:
    made = one(ramped(Phase.RUNNING), ramped(salt="f"))
    assert commands(made) == ["apply"]
    assert made.writes[0].after.progress == RUNNING


def test_a_ramp_that_cools_down_is_not_ended() -> None:
    cooling = replace(PROGRESS[Phase.ROLLED_BACK], rolled_back=RolledBack(Cause.GATE, 900.0, NOW + 60, 900.0, 1_000))
    with pytest.raises(RampRefused, match="'f' can't be ended: the cooldown lasts another 60 s"):
        one(ramped(progress=cooling), ramped(candidate="newer"))


def test_a_ramp_is_taken_away_when_it_doesnt_run() -> None:
    for phase in Phase:
        stored, wanted = ramped(phase), replace(ramped(), ramp=None, gates=())
        if phase in {Phase.RUNNING, Phase.MONITORING}:
            with pytest.raises(RampRefused):
                one(stored, wanted)
            continue
        made = one(stored, wanted)
        rests = phase in {Phase.DRAFT, Phase.COMPLETED}
        assert commands(made) == (["apply"] if rests else ["end", "apply"]), phase
        assert made.writes[-1].after.ramp is None
    redrawn = one(ramped(Phase.RUNNING), replace(BARE, salt="new"))
    assert commands(redrawn) == ["end", "apply"]


def test_anything_else_is_changed_while_the_ramp_goes_on_with_a_warning() -> None:
    made = one(ramped(Phase.RUNNING), ramped(owner="writing", holdout=Holdout(1_000), baseline="partner-2"))
    assert commands(made) == ["apply"]
    assert made.writes[0].after.progress == RUNNING
    assert made.warnings == ("a ramp is under way: what it has measured was measured with another baseline, holdout",)
    assert one(ramped(Phase.RUNNING), ramped(owner="writing")).warnings == ()
    assert one(ramped(), ramped(holdout=Holdout(1_000))).warnings == ()


def test_another_baseline_is_another_attempt_where_evidence_compares_with_it() -> None:
    """A candidate that is nearly proven against a weak partner would pass against a strong one."""
    other = ramped(gates=(COMPARED,), baseline="partner-2")
    for phase in (Phase.RUNNING, Phase.MONITORING):
        with pytest.raises(RampRefused, match=f"{phase}: its baseline can't change"):
            one(ramped(phase, gates=(COMPARED,)), other)
    stored = ramped(Phase.PAUSED, gates=(COMPARED,))
    made = one(stored, other)
    assert commands(made) == ["create"]
    after = made.writes[0].after
    assert (after.baseline, after.progress.attempt) == ("partner-2", stored.progress.attempt + 1)
    assert made.warnings[0] == "another baseline is another attempt: nothing gathered so far counts, and alpha is less"
    assert commands(one(ramped(Phase.COMPLETED, gates=(COMPARED,)), other)) == ["apply"]


def test_state_is_not_written_and_the_document_that_differs_is_told_so() -> None:
    made = one(ramped(), ramped(share_millipct=9_000, owner="me"), "share_millipct", "kill")
    assert made.writes[0].after.share_millipct == 1_000
    assert made.warnings == ("share_millipct: the document differs, but this is state and stays; commands change it",)
    assert one(ramped(), ramped(share_millipct=0)).warnings == ()


def test_enabling_brings_the_share_into_force() -> None:
    disabled = replace(BARE, state=State.DISABLED, share_millipct=5_000)
    assert one(disabled, BARE).warnings == ("the share of 5% comes into force at once",)
    assert one(replace(disabled, share_millipct=0), BARE).warnings == ()


def test_a_document_of_another_revision_is_refused_and_of_no_flag_taken() -> None:
    stale = {"f": Wanted(replace(BARE, revision=3, owner="me"))}
    with pytest.raises(RevisionConflict) as conflict:
        propose({"f": BARE}, stale, ORDER, Known())
    assert conflict.value.current == BARE
    (made,) = propose({}, stale, ORDER, Known())
    assert made.action == "create"
    (made,) = propose({"f": BARE}, {"f": Wanted(replace(BARE, owner="me"))}, ORDER, Known())
    assert made.action == "change"


def test_all_faults_are_told_together_and_nothing_is_decided() -> None:
    bad = replace(ramped(), gates=(replace(ERRORS, limit=None), replace(JUDGE, metric="juge")))
    needy = replace(BARE, feature="g", prerequisites=(Prerequisite("h"),))
    with pytest.raises(DocumentRefused) as refused:
        propose({}, {"f": Wanted(bad), "g": Wanted(needy)}, ORDER, Known())
    assert refused.value.faults == (
        "'f': gate 'errors' needs a limit",
        "'f': gate 'quality' asks for the unknown metric 'juge'; did you mean 'judge'?",
        "'g' needs 'h', which is not there",
    )
    assert refused.value.cause == "'f': gate 'errors' needs a limit (and 2 more)"
    in_force = one(bad, replace(bad, owner="me"))
    assert commands(in_force) == ["apply"], "a plan that is in force is not judged again"


def test_prerequisites_are_looked_at_with_what_is_stored_and_written_first() -> None:
    base = replace(BARE, feature="z", revision=0)
    needy = replace(BARE, feature="a", revision=0, prerequisites=(Prerequisite("z"),))
    made = propose({}, {"a": Wanted(needy), "z": Wanted(base)}, ORDER, Known())
    assert [each.feature for each in made] == ["z", "a"]
    (alone,) = propose({"z": base}, {"a": Wanted(needy)}, ORDER, Known())
    assert alone.feature == "a"
    with pytest.raises(DocumentRefused, match="circle"):
        propose({"a": needy}, {"z": Wanted(replace(base, prerequisites=(Prerequisite("a"),)))}, ORDER, Known())


def test_prerequisites_among_some_documents_may_lie_elsewhere() -> None:
    needy = replace(BARE, prerequisites=(Prerequisite("g"),))
    found = prerequisite_findings({"f": needy})
    assert (found.faults, found.warnings) == ((), ("'f' needs 'g', which is not among these documents",))
    circle = {"f": needy, "g": replace(BARE, feature="g", prerequisites=(Prerequisite("f"),))}
    assert "circle" in prerequisite_findings(circle).faults[0]


SAMPLE = Shadow(10_000, "", 1_000, 2, "third")


def test_what_is_doubtful_is_warned_of() -> None:
    rule = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})
    flag = replace(BARE, eligibility=rule, gates=(JUDGE,))
    known = Known(frozenset({"partner"}), frozenset({"beta"}))
    assert warnings_of(flag, known) == (
        "gates without a ramp hold nothing",
        "gate 'quality' is about judged pairs, but `shadow` has no sample or no judge",
        "candidate 'inhouse' is no upstream of this gateway",
        "the rule reads 'plan', which no request carries",
    )
    assert warnings_of(replace(flag, shadow=SAMPLE), Known()) == ("gates without a ramp hold nothing",)
    for shadow in (replace(SAMPLE, judge=""), replace(SAMPLE, millipct=0)):
        assert len(warnings_of(replace(flag, shadow=shadow), Known())) == 2
    assert warnings_of(ramped(gates=(ERRORS, JUDGE), shadow=SAMPLE), Known()) == ()


def test_evidence_that_cannot_be_gathered_is_a_fault() -> None:
    flag = ramped(gates=(ERRORS, replace(JUDGE, margin=0.7)), evidence=Evidence(age="1h"))
    faults = findings_of(flag, Known()).faults
    assert [fault.split(",")[0] for fault in faults] == ["evidence.age is 1h", "gate 'quality' has a margin of 0.7"]


def test_evidence_belongs_to_the_plan() -> None:
    later = Evidence(age="1m")
    assert commands(one(ramped(), ramped(evidence=later))) == ["create"]
    with pytest.raises(RampRefused, match="its plan, gates, evidence and rollback can't change"):
        one(ramped(Phase.RUNNING), ramped(evidence=later))


def test_a_judge_that_nobody_is_is_warned_of() -> None:
    flag = replace(BARE, shadow=replace(BARE.shadow, judge="third"))
    assert warnings_of(flag, Known(judges=frozenset({"other"}))) == (
        "judge 'third' is no judge of this gateway, so nobody compares the answers",
    )
    for known in (Known(judges=frozenset({"third"})), Known()):
        assert warnings_of(flag, known) == ()
    assert warnings_of(BARE, Known(judges=frozenset())) == ()


def test_the_rate_is_asked_of_what_is_known() -> None:
    slow = ramped(ramp=RampPlan(steps=(Step(share=1_000, bake="1h", min_samples=1_000, max_duration="2h"),)))
    assert findings_of(slow, Known()).warnings == ()
    (warning,) = findings_of(slow, Known(units_per_s={"f": 0.1})).warnings
    assert "1000 samples need" in warning


@fewer(50)
@given(stores, stores)
def test_applying_leads_to_what_is_wanted_without_touching_state_and_once(
    stored: dict[str, FeatureFlag], documents: dict[str, FeatureFlag]
) -> None:
    wanted = {name: Wanted(replace(flag, revision=0), frozenset({"kill"})) for name, flag in documents.items()}
    try:
        proposals = propose(stored, wanted, ORDER, Known())
    except (DocumentRefused, RampRefused):
        return
    after = {**stored, **{each.feature: each.writes[-1].after for each in proposals if each.writes}}
    for each in proposals:
        name, old = each.feature, stored.get(each.feature)
        aim = created(documents[name]) if old is None else configured(old, documents[name])
        assert diff(after[name], aim) == ()
        assert (after[name].share_millipct, after[name].kill) == (aim.share_millipct, aim.kill)
        assert each.changes == diff(old, aim)
        assert bool(each.writes) == bool(each.changes or old is None)
    again = propose(after, wanted, ORDER, Known())
    assert [each.action for each in again] == ["same"] * len(proposals)
