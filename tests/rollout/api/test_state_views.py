from msgspec.structs import replace

from rollout.api.state_views import hold_view, ramp_state_view, verdict_view, whole
from rollout.api.views import history_page
from rollout.core.audit import AuditEntry
from rollout.core.coverage import ArmCoverage, Coverage
from rollout.core.gates import Estimate, Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.model import FeatureFlag, Kill
from rollout.core.ramp_model import Cause, Pause, Phase, Progress, RampPlan, RolledBack, Step
from rollout.core.ramp_shown import Shown
from rollout.core.ramp_state import Look, RampState, state_of

FLAG = FeatureFlag(
    feature="f",
    candidate="c",
    baseline="b",
    revision=3,
    ramp=RampPlan(steps=(Step(share=1_000),)),
    progress=Progress(phase=Phase.PAUSED, step=0, paused=Pause(Cause.OPERATOR, 90.0, "ann", "lunch")),
)
VERDICT = Verdict("errors", Result.FAIL, "at most 0.02 wanted", 99.0, 90.0, "rate", 0.5, 0.02, 40)


def test_a_hold_has_its_numbers_and_its_text() -> None:
    view = hold_view(Hold(HoldReason.BAKING, 12.0, 30.0))
    assert view.model_dump(mode="json") == {
        "reason": "baking", "value": 12.0, "limit": 30.0, "gate": "", "detail": "", "text": "baking: 12 s of 30 s"
    }  # fmt: skip


def test_a_verdict_has_its_numbers() -> None:
    assert verdict_view(VERDICT).model_dump(mode="json") == {
        "gate": "errors", "metric": "rate", "result": "FAIL", "value": 0.5, "limit": 0.02, "samples": 40,
        "reason": "at most 0.02 wanted", "estimate": None, "coverage": None,
    }  # fmt: skip


def test_what_stands_behind_a_verdict_is_shown_whole() -> None:
    estimate = Estimate(effect=-0.01, lower=-0.02, upper=0.0, margin=0.05)
    assert verdict_view(replace(VERDICT, estimate=estimate)).model_dump(mode="json")["estimate"] == {
        "effect": -0.01, "lower": -0.02, "upper": 0.0, "margin": 0.05, "excluded": None, "expected_s": None,
        "harm_value": None, "by_bound": False,
    }  # fmt: skip


def test_who_stands_behind_a_verdict_is_shown() -> None:
    coverage = Coverage("units", ArmCoverage(90, 10, rated=3), ArmCoverage(7), 0.05)
    assert verdict_view(replace(VERDICT, coverage=coverage)).model_dump(mode="json")["coverage"] == {
        "of": "units", "candidate": {"judged": 90, "left_out": 10, "rated": 3},
        "baseline": {"judged": 7, "left_out": 0, "rated": None}, "limit": 0.05,
    }  # fmt: skip


def test_the_history_shows_verdicts_of_which_little_is_known() -> None:
    nobody = Coverage("units", ArmCoverage(), ArmCoverage(rated=0), 0.05)
    verdict = replace(VERDICT, estimate=Estimate(effect=-0.1), coverage=nobody)
    entry = AuditEntry(
        at_s=1.0, actor="controller", command="advance", reason="", feature="f", revision_before=1, revision_after=2,
        share_before_millipct=0, share_after_millipct=1_000, verdicts=(verdict,),
    )  # fmt: skip
    (shown,) = history_page([entry], 1).entries
    (verdict,) = shown.verdicts
    assert verdict.estimate is not None
    assert (verdict.estimate.effect, verdict.estimate.excluded) == (-0.1, None)
    assert verdict.coverage is not None
    assert (verdict.coverage.candidate.judged, verdict.coverage.baseline.rated) == (0, 0)


def test_a_state_has_the_names_of_the_contract() -> None:
    shown = Shown(3, Phase.PAUSED, 0, 99.0, "one", (), (VERDICT,))
    state = state_of(FLAG, Look(shown), 100.0)
    assert state is not None
    tree = ramp_state_view(state).model_dump(mode="json")
    assert set(tree) == {
        "phase", "step", "steps", "step_share_millipct", "next_share_millipct", "paused", "rolled_back", "holds",
        "verdicts", "looked_at_s", "controller",
    }  # fmt: skip
    assert tree["paused"] == {"by": "operator", "since_s": 90.0, "actor": "ann", "reason": "lunch", "acked_by": ""}
    assert [hold["text"] for hold in tree["holds"]] == ["paused: for 10 s (by operator ann: lunch)"]
    assert (tree["rolled_back"], tree["looked_at_s"], tree["controller"]) == (None, 99.0, "one")


def test_parts_of_a_flag_are_written_whole_and_as_the_document_spells_them() -> None:
    assert whole(Kill(on=True, at_s=5.0)) == {"on": True, "actor": "", "at": 5.0, "reason": ""}
    assert whole(FLAG)["hashVersion"] == 3
    assert whole(FLAG)["ramp"]["steps"][0]["bake"] == "0s"
    assert whole(None) is None


def test_a_rollback_has_the_numbers_that_led_to_it_and_what_all_gates_said() -> None:
    other = replace(VERDICT, gate="fine", result=Result.PASS)
    back = RolledBack(Cause.GATE, 90.0, 150.0, 90.0, 0, reason="why", gate="errors", verdicts=(other, VERDICT))
    flag = replace(FLAG, progress=Progress(phase=Phase.ROLLED_BACK, rolled_back=back))
    later = Shown(3, Phase.ROLLED_BACK, 0, 99.0, "one")
    state = state_of(flag, Look(later), 100.0)
    assert state is not None
    shown = ramp_state_view(state).model_dump(mode="json")
    assert [each["gate"] for each in shown["verdicts"]] == ["fine", "errors"]
    told = {name: shown["rolled_back"][name] for name in ("by", "at_s", "reason", "gate", "metric", "value", "limit")}
    assert list(told.values()) == ["gate", 90.0, "why", "errors", "rate", 0.5, 0.02]
    assert "verdicts" not in shown["rolled_back"]


def test_a_rollback_by_a_person_has_no_gate() -> None:
    back = RolledBack(Cause.OPERATOR, 90.0, 150.0, 90.0, 0, "ann")
    state = state_of(replace(FLAG, progress=Progress(phase=Phase.ROLLED_BACK, rolled_back=back)), Look(), 100.0)
    assert state is not None
    view = ramp_state_view(state)
    assert view.rolled_back is not None
    assert (view.rolled_back["gate"], view.rolled_back["metric"], view.rolled_back["value"]) == ("", None, None)
    assert (view.verdicts, ramp_state_view(replace_phase(state)).rolled_back) == ([], None)


def replace_phase(state: RampState) -> RampState:
    return state._replace(rolled_back=None)
