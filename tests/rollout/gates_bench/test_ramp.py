import msgspec
import pytest

from rollout.gates_bench import plan
from rollout.gates_bench.ramp import Run, fresh, run
from rollout.gates_bench.scenarios import Scenario, Truth

BROKEN = Scenario(name="broken", truth=Truth.HARM, error_ratio=60.0)
FINE = Scenario(name="A/A", truth=Truth.FINE)


@pytest.fixture
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "STAGE_UNITS_MAX", (6_000,) * 4)


def test_a_broken_candidate_is_rolled_back_for_its_errors_within_the_first_stage() -> None:
    ended = run(BROKEN, 1)
    assert (ended.end, ended.reason, ended.stage) == ("rolled_back", "errors", 0)
    assert 0 < ended.decisive < ended.exposed == ended.decisive + plan.AGE_UNITS // 100
    assert ended.delay_units == ended.units + plan.AGE_UNITS
    assert run(BROKEN, 1) == ended, "a seed gives the same ramp"


def test_what_is_counted_from_the_onset_on() -> None:
    late = msgspec.structs.replace(BROKEN, onset_unit=5_000)
    ended = run(late, 1)
    assert ended.end == "rolled_back"
    assert ended.delay_units == ended.units - 5_000 + plan.AGE_UNITS
    assert ended.decisive < 100
    begun = fresh(late, 1)
    assert begun.end == "rolled_back"
    assert begun.delay_units == begun.units + plan.AGE_UNITS


@pytest.mark.usefixtures("soon_over")
def test_a_ramp_that_proves_nothing_in_time_is_held() -> None:
    ended = run(FINE, 1)
    assert (ended.end, ended.stage, ended.units) == ("held", 0, 7_200)
    assert run(msgspec.structs.replace(FINE, dwell=2), 1).units == 12_000
    assert fresh(FINE, 1).end == "held"


def test_a_ramp_whose_units_get_lost_is_frozen() -> None:
    assert run(Scenario(name="lost", truth=Truth.UNTRUSTED, lost=0.9), 1).end == "frozen"


def test_an_equal_candidate_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    # With margins so wide that little is to be proved: it is the machinery that is tested.
    monkeypatch.setattr(plan, "STAGES", tuple(plan.Stage(50_000, 0.5, 0.5, 0.5, 5.0) for _ in plan.STAGES))
    monkeypatch.setattr(plan, "STAGE_UNITS_MIN", 1_000)
    ended = run(FINE, 1)
    assert (ended.end, ended.stage) == ("completed", 4)
    assert fresh(FINE, 1).end == "completed"


def test_derived_figures() -> None:
    ended = Run("rolled_back", "judge", 0, 1_000, 10, 7, 16, 2_400)
    assert ended.scored == 14
    assert ended.delay_minutes == 2.0
