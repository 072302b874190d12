from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from rollout.api import views
from rollout.cli.feature_render import Features, hold_texts, phase_of, told, told_of
from rollout.core.coverage import ArmCoverage, Coverage
from rollout.core.gates import Estimate, Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.model import FeatureFlag, Kill, State
from rollout.core.ramp_model import Cause, Pause, Phase, Progress, RampPlan, RolledBack, Step
from rollout.core.ramp_shown import Shown
from rollout.core.ramp_state import Look

NOW = 2_000.0
PLAN = RampPlan(steps=(Step(share=5_000, bake="10m"), Step(share=50_000, approval=True)))
PLAIN = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", revision=1)
RAMP = replace(
    PLAIN,
    feature="summarize",
    revision=7,
    share_millipct=5_000,
    ramp=PLAN,
    progress=Progress(phase=Phase.RUNNING, step=0, step_began_s=NOW - 12, proposer="ann"),
)
PAUSED = replace(
    RAMP, progress=replace(RAMP.progress, phase=Phase.PAUSED, paused=Pause(Cause.OPERATOR, NOW - 5, "ann", "lunch"))
)
VERDICT = Verdict("errors", Result.FAIL, "at most 0.02 wanted", NOW, value=0.5, limit=0.02, samples=40)
EMPTY = Verdict("speed", Result.NO_DATA, "the answer is empty", NOW)
FAILING = Hold(HoldReason.FAILING, 0.5, 0.02, "errors", "at most 0.02 wanted; failed 1 of 2 times")
LOOK = Look(Shown(7, Phase.RUNNING, 0, NOW - 1, "host-1", (FAILING,), (VERDICT, EMPTY)))


def view(flag: FeatureFlag, look: Look = LOOK, now_s: float = NOW, *, killed_locally: bool = False) -> dict[str, Any]:
    shown = views.feature_view(flag, killed_locally=killed_locally, now_s=now_s, look=look)
    return shown.model_dump(mode="json")


def answer(*flags: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"store": "ok", "version": 12, "last_error": None, "features": list(flags)} | changes


def replace_shown(*verdicts: Verdict) -> Look:
    return Look(Shown(7, Phase.RUNNING, 0, NOW - 1, "host-1", (), verdicts))


def printed(given: dict[str, Any], width: int = 80, *, in_full: bool = False) -> str:
    out = StringIO()
    Console(file=out, width=width).print(Features(given, in_full=in_full))
    return out.getvalue()


def test_each_feature_has_a_line_and_one_for_each_of_its_holds() -> None:
    shown = printed(answer(view(PLAIN), view(RAMP)))
    assert [line.rstrip() for line in shown.splitlines()] == [
        "store ok, version 12",
        "feature    phase    step       share  in force  next  rev",
        "draft      no ramp  -          0%     0%        -     1",
        "  candidate inhouse, baseline partner",
        "summarize  RUNNING  0 of 0..1  5%     5%        50%   7",
        "  candidate inhouse, baseline partner",
        "  - failing: gate errors: 0.5, limit 0.02 (at most 0.02 wanted; failed 1 of 2",
        "    times)",
        "  - baking: 12 s of 10 min",
        "  - awaiting_approval: 0 of 1 (for step 1, by somebody else than ann)",
    ]


def test_one_feature_is_shown_with_what_its_gates_said() -> None:
    shown = printed(answer(view(RAMP)), in_full=True)
    assert "  gate errors: FAIL 0.5, limit 0.02, 40 samples (at most 0.02 wanted)\n" in _trimmed(shown)
    assert "  gate speed: NO_DATA (the answer is empty)\n" in _trimmed(shown)
    assert "by host-1" in shown
    unseen = printed(answer(view(RAMP, Look())), in_full=True)
    assert "gate errors" not in unseen
    assert "looked at" not in unseen
    assert "looked at" not in printed(answer(view(PLAIN)), in_full=True)


def test_gates_of_evidence_are_a_table_of_their_own() -> None:
    proof = replace(VERDICT, gate="fine", estimate=Estimate(effect=-0.004, margin=0.05))
    look = replace_shown(proof, VERDICT)
    shown = printed(answer(view(RAMP, look)), 100, in_full=True)
    assert shown.count("gate errors: FAIL") == 1
    assert "gate fine" not in shown
    assert "  fine FAIL -0.004       -   0.05" in shown
    assert "fine" not in printed(answer(view(RAMP, look)), 100)


def test_after_a_rollback_the_gates_are_shown_as_they_were_then() -> None:
    """Whoever is paged comes after it."""
    worse = replace(VERDICT, gate="worse", estimate=Estimate(effect=-0.3, lower=-0.4, upper=-0.2, margin=0.05))
    back = RolledBack(Cause.GATE, NOW - 9, NOW + 51, NOW - 9, 0, reason="why", gate="worse", verdicts=(VERDICT, worse))
    flag = replace(RAMP, progress=Progress(phase=Phase.ROLLED_BACK, rolled_back=back))
    shown = printed(answer(view(flag, Look(Shown(7, Phase.ROLLED_BACK, 0, NOW - 1, "host-1")))), 100, in_full=True)
    assert "what the gates said when it was rolled back" in shown
    assert "gate errors: FAIL" in shown
    assert "worse FAIL -0.300 -0.400..-0.200   0.05" in shown
    by_hand = replace(flag, progress=replace(flag.progress, rolled_back=replace(back, verdicts=())))
    assert "what the gates said" not in printed(answer(view(by_hand)), 100, in_full=True)
    before = Look(Shown(7, Phase.ROLLED_BACK, 0, NOW - 1, "host-1", last=(worse,)))
    shown = printed(answer(view(by_hand, before)), 100, in_full=True)
    assert "what the gates said when it was rolled back" in shown
    assert "worse FAIL -0.300 -0.400..-0.200   0.05" in shown


def test_under_a_kill_it_is_told_what_the_gates_said_before() -> None:
    killed = replace(RAMP, kill=Kill(True, "ann", NOW - 3, "smoke"))
    before = Look(Shown(7, Phase.PAUSED, 0, NOW - 1, "host-1", last=(VERDICT,)))
    shown = printed(answer(view(killed, before)), 100, in_full=True)
    assert "what the gates said before the kill:" in shown
    assert "gate errors: FAIL" in shown
    assert "looked at" not in shown
    nothing = Look(Shown(7, Phase.PAUSED, 0, NOW - 1, "host-1"))
    assert "what the gates said" not in printed(answer(view(killed, nothing)), 100, in_full=True)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_long_names_give_way(width: int) -> None:
    named = replace(RAMP, feature="a" * 64, share_millipct=12_345)
    shown = printed(answer(view(named), view(PLAIN)), width)
    assert max(map(len, shown.splitlines())) <= width
    assert sum(len(line.split()[0]) for line in shown.splitlines() if line.startswith("aaa")) == 64
    assert "failing: gate errors" in shown


@pytest.mark.parametrize(
    ("flag", "local", "phase"),
    [
        (PLAIN, False, "no ramp"),
        (replace(PLAIN, state=State.DISABLED), False, "DISABLED"),
        (replace(RAMP, state=State.DISABLED), False, "DISABLED"),
        (replace(RAMP, kill=Kill(on=True)), False, "KILLED"),
        (PAUSED, False, "PAUSED"),
        (PAUSED, True, "KILLED"),
    ],
)
def test_a_word_says_how_it_stands(flag: FeatureFlag, phase: str, *, local: bool) -> None:
    assert phase_of(view(flag, killed_locally=local)) == phase


def test_a_kill_shows_without_a_ramp_too() -> None:
    killed = replace(PLAIN, kill=Kill(on=True, actor="eve", at_s=1.0, reason="[red]errors"))
    assert hold_texts(view(killed)) == ["killed: by eve: [red]errors"]
    assert hold_texts(view(PLAIN, killed_locally=True)) == ["killed: on this replica alone"]
    assert hold_texts(view(PLAIN)) == []
    assert "- killed: by eve: [red]errors" in printed(answer(view(killed)))


def test_what_is_wrong_with_the_store_is_on_top() -> None:
    shown = printed(answer(view(PLAIN), store="unavailable", last_error="no answer\x1b[2J"))
    assert shown.startswith("store unavailable, version 12\n  no answer [2J")


def test_an_answer_without_features_is_a_headline() -> None:
    assert "feature" in printed(answer())


def test_times_that_go_on_are_not_worth_telling() -> None:
    later = answer(view(RAMP, now_s=NOW + 3), age_s=3.0)
    assert told(answer(view(RAMP))) == told(later)
    assert told({"error": "x"}) != told({"error": "y"})


@pytest.mark.parametrize(
    "other",
    [
        PAUSED,
        replace(RAMP, share_millipct=6_000),
        replace(RAMP, revision=8),
        replace(RAMP, kill=Kill(on=True)),
        replace(RAMP, progress=replace(RAMP.progress, step=1)),
        replace(RAMP, progress=replace(RAMP.progress, step_began_s=0.0)),
    ],
)
def test_phase_share_and_reasons_are(other: FeatureFlag) -> None:
    assert told_of(view(RAMP)) != told_of(view(other))
    assert told(answer(view(RAMP))) != told(answer(view(RAMP), store="unavailable"))


def _trimmed(shown: str) -> str:
    return "\n".join(line.rstrip() for line in shown.splitlines()) + "\n"


def test_in_full_it_says_who_was_left_out() -> None:
    coverage = Coverage("units", ArmCoverage(90, 10), ArmCoverage(100), 0.05)
    look = replace_shown(replace(VERDICT, estimate=Estimate(), coverage=coverage))
    line = "gate errors: units left out: candidate 10 of 100, 10.0%, baseline 0 of 100, 0.0% (at most 5%)"
    assert line in printed(answer(view(RAMP, look)), 140, in_full=True)
    assert "left out" not in printed(answer(view(RAMP, look)), 140)
