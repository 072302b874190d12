from typing import Any

import pytest

from rollout.cli.client import ApiFault
from rollout.cli.status import EXIT_CODES, Surroundings, situation, wait
from rollout.core.errors import InvalidArgument
from rollout.core.ramp_goal import Outcome, Situation, parse_goal
from rollout.core.ramp_model import Phase

AWAY = ApiFault("nobody answered", "is it running?", 5, passing=True)
REFUSED = ApiFault("this key is not known", "give another", 5)
UNKNOWN = ApiFault("there is no feature 'f'", "known: g", 4)


def flag(phase: str | None = "RUNNING", **changes: Any) -> dict[str, Any]:
    holds = [{"reason": "baking", "gate": "", "text": "baking: 1 s of 2 s"}]
    ramp = phase and {"phase": phase, "step": 0, "steps": 2, "holds": holds}
    return {
        "feature": "f", "revision": 1, "state": "ENABLED", "share": "5%", "share_millipct": 5_000,
        "in_force_millipct": 5_000, "kill": {"on": False}, "killed_locally": False, "ramp_state": ramp,
    } | changes  # fmt: skip


AWAITING = flag()
AWAITING["ramp_state"]["holds"] = [{"reason": "awaiting_approval", "gate": "", "text": "awaiting approval"}]


class Simulated:
    """A gateway that says one thing after the other, the last one again and again, and a clock that sleeping moves."""

    def __init__(self, *said: Any) -> None:
        self.said, self.at_s, self.lines = list(said), 100.0, []
        self.around = Surroundings(self.lines.append, lambda: self.at_s, self.sleep)

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds <= 1
        self.at_s += seconds

    def ask(self) -> dict[str, Any]:
        now = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(now, ApiFault):
            raise now
        return now  # type: ignore[no-any-return]

    def wait(self, timeout_s: float = 10.0, goal: str = "completed") -> tuple[Outcome, float]:
        ended = wait(self.ask, parse_goal(goal), timeout_s, self.around)
        assert ended.flag
        return ended.outcome, self.at_s - 100.0


@pytest.mark.parametrize(
    ("said", "goal", "outcome", "lasted_s"),
    [
        ([flag(), flag(), flag("COMPLETED")], "completed", Outcome.REACHED, 2),
        ([flag(), flag("ROLLED_BACK")], "completed", Outcome.ENDED, 1),
        ([flag(), flag(kill={"on": True})], "completed", Outcome.ENDED, 1),
        ([flag(), flag("PAUSED")], "completed", Outcome.PAUSED, 1),
        ([flag("READY")], "completed", Outcome.AWAITED, 0),
        ([flag(), flag("DRAFT")], "completed", Outcome.AWAITED, 1),
        ([flag(), AWAITING], "completed", Outcome.AWAITED, 1),
        ([flag()], "completed", Outcome.UNDER_WAY, 10),
        ([flag()], "share:5%", Outcome.REACHED, 0),
        ([flag(None), flag(None, in_force_millipct=6_000)], "share:6%", Outcome.REACHED, 1),
        ([AWAY, flag(), AWAY, AWAY, flag("COMPLETED")], "completed", Outcome.REACHED, 4),
        ([flag(), AWAY], "completed", Outcome.UNDER_WAY, 10),
    ],
)
def test_how_a_wait_ends(said: list[Any], goal: str, outcome: Outcome, lasted_s: float) -> None:
    assert Simulated(*said).wait(goal=goal) == (outcome, lasted_s)


def test_without_a_timeout_it_is_asked_once() -> None:
    world = Simulated(flag(), flag("COMPLETED"))
    assert world.wait(0.0) == (Outcome.UNDER_WAY, 0.0)
    assert world.lines == []
    with pytest.raises(ApiFault, match="nobody answered"):
        Simulated(AWAY).wait(0.0)


def test_nobody_there_all_the_time_is_a_fault() -> None:
    world = Simulated(AWAY)
    with pytest.raises(ApiFault, match="nobody answered"):
        world.wait()
    assert (world.at_s, world.lines) == (110.0, ["nobody answered"])


@pytest.mark.parametrize("fault", [REFUSED, UNKNOWN])
def test_what_waiting_does_not_mend_ends_it(fault: ApiFault) -> None:
    for said in ([fault], [flag(), fault]):
        with pytest.raises(ApiFault) as met:
            Simulated(*said).wait()
        assert met.value is fault


def test_a_goal_that_cannot_be_is_a_fault() -> None:
    with pytest.raises(InvalidArgument, match="no step 2"):
        Simulated(flag()).wait(goal="step:2")
    with pytest.raises(InvalidArgument, match="no ramp"):
        Simulated(flag(None)).wait()


def test_progress_is_told_when_something_changes() -> None:
    world = Simulated(flag(), flag(), AWAY, AWAY, flag(), flag(revision=2, share="6%"), flag("COMPLETED"))
    world.wait()
    line = "f: share 5% (in force 5%), revision 1, RUNNING step 0 of 0..1; baking: 1 s of 2 s"
    later = line.replace("share 5%", "share 6%").replace("revision 1", "revision 2")
    assert world.lines == [line, "nobody answered", line, later]


def test_what_goals_are_judged_by() -> None:
    assert situation(flag()) == Situation(Phase.RUNNING, 5_000, off=False, step=0, steps=2, holds=("baking",))
    assert situation(flag(None)) == Situation(None, 5_000)
    for off in ({"kill": {"on": True}}, {"killed_locally": True}, {"state": "DISABLED"}):
        assert situation(flag(**off)).off


def test_every_outcome_has_an_exit_code() -> None:
    assert EXIT_CODES == {
        Outcome.REACHED: 0, Outcome.ENDED: 1, Outcome.PAUSED: 6, Outcome.AWAITED: 6, Outcome.UNDER_WAY: 7,
    }  # fmt: skip
    assert set(EXIT_CODES) == set(Outcome)
