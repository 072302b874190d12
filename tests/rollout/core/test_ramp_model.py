import msgspec
import pytest

from rollout.core.ramp_model import (
    BEFORE_FIRST,
    Cause,
    EarlyMargin,
    Evidence,
    FailureRule,
    Freeze,
    Gate,
    GateKind,
    GateMemory,
    GateRecord,
    Pause,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    Step,
    Window,
    enforced,
)

DOCUMENT = {
    "steps": [
        {"share": 1_000, "bake": "30m", "min_samples": 200, "max_duration": "4h"},
        {"share": 100_000, "bake": "1d", "approval": True},
    ],
    "windows": [{"opens": "09:00", "closes": "17:00", "days": ["mon", "fri"], "utc_offset": "+01:00"}],
    "freezes": [{"first": "2026-12-20", "last": "2027-01-02", "reason": "holidays"}],
    "cooldown": "2h",
    "post_monitor": "1d",
    "no_data_pause": "10m",
}
PLAN = msgspec.convert(DOCUMENT, RampPlan)


def test_a_plan_is_read_as_written_and_written_as_read() -> None:
    assert msgspec.json.decode(msgspec.json.encode(PLAN)) == DOCUMENT
    assert PLAN.steps == (
        Step(share=1_000, bake="30m", min_samples=200, max_duration="4h"),
        Step(share=100_000, bake="1d", approval=True),
    )
    assert PLAN.windows == (Window(opens="09:00", closes="17:00", days=("mon", "fri"), utc_offset="+01:00"),)
    assert PLAN.freezes == (Freeze(first="2026-12-20", last="2027-01-02", reason="holidays"),)


def test_durations_are_seconds_inside() -> None:
    assert (PLAN.cooldown_s, PLAN.post_monitor_s, PLAN.no_data_pause_s) == (7_200, 86_400, 600)
    assert (PLAN.steps[0].bake_s, PLAN.steps[0].max_duration_s, PLAN.steps[1].max_duration_s) == (1_800, 14_400, None)
    assert (Rollback(stage_every="90s").stage_every_s, Rollback().to_share) == (90, 0)
    assert (FailureRule(count=3).within_s, FailureRule(count=3, within="1h").within_s) == (None, 3_600)
    gate = Gate(name="g", role=Role.HARD, source="promql", kind=GateKind.THRESHOLD, window="5m", max_age="1m")
    assert (gate.window_s, gate.max_age_s) == (300, 60)


@pytest.mark.parametrize("shares", [(2_000, 1_000), (1_000, 1_000)])
def test_invariant_22_steps_that_do_not_grow_are_refused(shares: tuple[int, int]) -> None:
    with pytest.raises(msgspec.ValidationError, match="steps must grow"):
        msgspec.convert({"steps": [{"share": share} for share in shares]}, RampPlan)


@pytest.mark.parametrize(
    "plan",
    [
        {"steps": []},
        {"steps": [{"share": -1}]},
        {"steps": [{"share": 100_001}]},
        {"steps": [{"share": 1, "bake": "soon"}]},
        {"steps": [{"share": 1, "bake": 30}]},
        {"steps": [{"share": 1, "min_samples": -1}]},
        {"steps": [{"share": 1, "pause": "1h"}]},
        {"steps": [{"share": 1}], "cooldown": "1.5h"},
        {"steps": [{"share": 1}], "windows": [{"opens": "9:00", "closes": "17:00"}]},
        {"steps": [{"share": 1}], "windows": [{"opens": "09:00", "closes": "24:00"}]},
        {"steps": [{"share": 1}], "windows": [{"opens": "09:00", "closes": "17:00", "days": ["Monday"]}]},
        {"steps": [{"share": 1}], "windows": [{"opens": "09:00", "closes": "17:00", "utc_offset": "CET"}]},
        {"steps": [{"share": 1}], "freezes": [{"first": "2026-13-01", "last": "2026-12-31"}]},
    ],
)
def test_nothing_that_cannot_be_meant_is_read(plan: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plan, RampPlan)


@pytest.mark.parametrize(
    "gate",
    [
        {"name": "g", "role": "hard", "source": "promql", "kind": "treshold"},
        {"name": "g", "role": "hard", "source": "promql", "kind": "threshold", "margin": 0.0},
        {"name": "g", "role": "hard", "source": "promql", "kind": "threshold", "alpha": 1.0},
        {"name": "g", "role": "hard", "source": "promql", "kind": "threshold", "failure": {"count": 0}},
        {"name": "g", "role": "hard", "source": "promql", "kind": "threshold", "failure": {"consecutive": 3}},
        {"name": "", "role": "hard", "source": "promql", "kind": "threshold"},
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(gate: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(gate, Gate)


def test_which_step_a_share_belongs_to() -> None:
    shares = [0, 999, 1_000, 99_999, 100_000]
    assert [PLAN.step_at(share) for share in shares] == [BEFORE_FIRST, BEFORE_FIRST, 0, 0, 1]
    assert PLAN.criteria(BEFORE_FIRST) is PLAN.steps[0]
    assert PLAN.criteria(1) is PLAN.steps[1]


def test_time_in_a_step_leaves_pauses_out_and_never_runs_backwards() -> None:
    progress = Progress(phase=Phase.RUNNING, step=0, step_began_s=100.0, paused_s=30.0)
    assert progress.elapsed_s(180.0) == 50.0
    assert progress.elapsed_s(90.0) == 0.0
    paused = msgspec.structs.replace(progress, paused=Pause(Cause.GATE, since_s=150.0))
    assert paused.elapsed_s(1e9) == 20.0
    monitoring = msgspec.structs.replace(progress, monitoring_since_s=140.0)
    assert monitoring.elapsed_s(180.0) == 10.0


def test_invariant_11_progress_and_memory_survive_the_store() -> None:
    progress = Progress(phase=Phase.PAUSED, attempt=2, step=1, step_began_s=0.1 + 0.2, paused=Pause(Cause.SYSTEM, 7.5))
    memory = GateMemory(2, {"errors": GateRecord(2, (1.5, 2.5), 2.5)}, blind_since_s=3.25)
    assert msgspec.json.decode(msgspec.json.encode(progress), type=Progress) == progress
    assert msgspec.json.decode(msgspec.json.encode(memory), type=GateMemory) == memory
    assert msgspec.json.encode(Progress()) == b"{}"


def test_observing_gates_hold_nothing() -> None:
    gates = [Gate(name=role, role=role, source="promql", kind=GateKind.THRESHOLD) for role in Role]
    assert [gate.name for gate in enforced(gates)] == ["hard", "soft"]


def test_ages_of_evidence_are_seconds_inside() -> None:
    assert (Evidence().age_s, Evidence().feedback_age_s) == (30.0, 3_600.0)


def test_the_margin_asked_is_that_of_the_share() -> None:
    plain = Gate(name="fine", role=Role.SOFT, source="evidence", kind=GateKind.NONINFERIORITY, metric="form")
    gate = msgspec.structs.replace(plain, margin=0.05, early=(EarlyMargin(25_000, 0.08), EarlyMargin(5_000, 0.2)))
    assert [gate.margin_at(share) for share in (4_999, 5_000, 24_999, 25_000)] == [0.2, 0.08, 0.08, 0.05]
    assert msgspec.structs.replace(gate, margin=None).margin_at(25_000) == 0.0
