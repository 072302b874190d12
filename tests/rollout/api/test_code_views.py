import json
from math import inf

import pytest

from rollout.api.code_views import applied_answer, doctor_answer, plan_answer, step_line
from rollout.code_operations import Outcome, Planned
from rollout.core.applying import Proposal, Write
from rollout.core.configuration import Change
from rollout.core.model import FeatureFlag
from rollout.core.ramp_plan import Findings, PlannedStep
from rollout.surroundings import Check

BAKING = PlannedStep(0, 1_000, 3_600.0, 3_600.0, 0.0, 0.0, approval=False)
WAITING = PlannedStep(1, 5_000, inf, 60.0, inf, 0.0, approval=True)


def test_a_step_without_a_rate_says_what_can_be_said() -> None:
    assert step_line(BAKING, None) == "step 0 (1%): bakes 1 h"
    unknown = "how long its samples and evidence take is unknown without a rate"
    assert step_line(WAITING, None) == (
        f"step 1 (5%): bakes 1 min; {unknown}, and the approval of a second person before"
    )
    assert "at your traffic this step needs 1 h" in step_line(BAKING, 2.0)


def test_a_plan_is_json_also_where_it_takes_for_ever() -> None:
    planned = Planned("f", None, (BAKING, WAITING), 60.0, inf, Findings((), ("odd",)))
    body = json.loads(plan_answer(planned).model_dump_json())
    assert (body["total_s"], body["text"]) == (None, "how long it takes in all can't be said without a rate")
    assert [step["needs_s"] for step in body["steps"]] == [3_600.0, None]
    known = plan_answer(planned._replace(units_per_s=2.0))
    assert known.text == "how long it takes in all can't be said"
    finite = plan_answer(planned._replace(steps=(BAKING,), total_s=3_660.0))
    assert (finite.total_s, finite.text) == (3_660.0, "1.02 h in all, at the best")


def test_a_plan_with_evidence_says_what_it_assumes_of_units() -> None:
    gathering = BAKING._replace(evidence_s=600.0)
    told = [plan_answer(Planned("f", 2.0, (step,), 0.0, 3_600.0, Findings())).text for step in (BAKING, gathering)]
    assert told[0] == "1 h in all, at the best"
    assert told[1].startswith("1 h in all, at the best; evidence is reckoned as if each request were a new unit: in ")


def test_what_was_applied_is_shown_with_commands_and_changes() -> None:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b")
    proposal = Proposal("f", 3, (Change("owner", "", "me"),), ("odd",), (Write("end", flag), Write("apply", flag)))
    (view,) = applied_answer([Outcome(proposal, 5)], dry_run=False).features
    assert view.model_dump() == {
        "feature": "f",
        "action": "change",
        "commands": ["end", "apply"],
        "changes": [{"path": "owner", "before": "", "after": "me"}],
        "warnings": ["odd"],
        "revision": 5,
    }


@pytest.mark.parametrize(
    ("results", "worst"), [((), "ok"), (("ok",), "ok"), (("ok", "warn"), "warn"), (("fail", "warn"), "fail")]
)
def test_the_worst_check_counts(results: tuple, worst: str) -> None:
    assert doctor_answer(Check("c", each, "t") for each in results).result == worst
