import pytest

from rollout.gates_bench import plan
from rollout.gates_bench.ramp import fresh_exposure, run
from rollout.gates_bench.scenarios import Scenario, Truth

BROKEN = Scenario(name="broken", truth=Truth.HARM, error_ratio=60.0)


def test_a_broken_candidate_is_rolled_back_for_its_errors_within_the_first_stage() -> None:
    ended = run(BROKEN, 1)
    assert (ended.end, ended.reason, ended.stage) == ("rolled_back", "errors", 0)
    assert 0 < ended.exposed < 100
    assert ended.exposed <= ended.judged < ended.units
    assert run(BROKEN, 1) == ended, "a seed gives the same ramp"


def test_a_gate_started_at_the_onset_exposes_about_as_much() -> None:
    exposed = fresh_exposure(BROKEN, 1)
    assert exposed is not None
    assert exposed < 100


def test_a_fresh_gate_finds_nothing_where_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "STAGE_UNITS_MAX", 2_000)
    assert fresh_exposure(Scenario(name="A/A", truth=Truth.FINE), 1) is None


def test_a_ramp_that_proves_nothing_in_time_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "STAGE_UNITS_MAX", 2_000)
    ended = run(Scenario(name="A/A", truth=Truth.FINE), 1)
    assert (ended.end, ended.stage, ended.units) == ("held", 0, 2_000)


def test_a_ramp_whose_units_get_lost_is_frozen() -> None:
    assert run(Scenario(name="lost", truth=Truth.UNTRUSTED, lost=0.9), 1).end == "frozen"


def test_an_equal_candidate_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    # With margins so wide that little is to be proved: it is the machinery that is tested.
    wide = [plan.Stage(share, 0.5, 50.0, 0.5, 5.0) for share in (20_000, 50_000)]
    monkeypatch.setattr(plan, "STAGES", tuple(wide))
    monkeypatch.setattr(plan, "STAGE_UNITS_MIN", 1_000)
    ended = run(Scenario(name="A/A", truth=Truth.FINE), 1)
    assert (ended.end, ended.stage) == ("completed", 2)
