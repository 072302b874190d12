import pytest
from msgspec.structs import replace

from rollout.core.evidence.levels import alpha_of, is_stopper, limit_of, weights_of
from rollout.core.evidence.rollback import ALPHA, attempt_alpha
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Progress, Role

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05, alpha=0.05)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY, alpha=0.01)
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1, role=Role.SOFT, alpha=None)
ERRORS = replace(HARM, name="errors", metric="errors", alpha=0.02)
SEEN = replace(HARM, name="seen", role=Role.OBSERVE, alpha=0.001)


def asking(*gates: Gate, attempt: int = 1) -> FeatureFlag:
    return FeatureFlag(feature="draft", candidate="a", baseline="b", gates=gates, progress=Progress(attempt=attempt))


def test_what_can_stop_a_ramp() -> None:
    gates = (HARM, PROOF, FLOOR, SEEN, replace(HARM, source="promql"))
    assert [is_stopper(gate) for gate in gates] == [True, False, True, False, False]


def test_all_that_can_stop_a_ramp_share_the_smallest_alpha() -> None:
    flag = asking(HARM, FLOOR, ERRORS, PROOF, SEEN)
    assert {alpha_of(gate, flag) for gate in (HARM, FLOOR, ERRORS)} == {attempt_alpha(0.02, 1)}
    assert alpha_of(PROOF, flag) == attempt_alpha(0.01, 1)
    assert alpha_of(SEEN, flag) == attempt_alpha(0.001, 1)
    assert alpha_of(FLOOR, asking(FLOOR)) == attempt_alpha(ALPHA, 1)


def test_errors_and_judged_pairs_have_a_larger_part_than_others() -> None:
    judged = replace(HARM, name="quality", metric="judge")
    assert weights_of(asking(HARM, FLOOR, ERRORS, judged, PROOF)) == {
        "worse": 1 / 8, "floor": 1 / 8, "errors": 1 / 2, "quality": 1 / 4
    }  # fmt: skip
    flag = asking(HARM, FLOOR, ERRORS, PROOF)
    assert weights_of(asking(PROOF)) == {}
    assert sum(1 / limit_of(gate, flag) for gate in (HARM, FLOOR, ERRORS)) == pytest.approx(attempt_alpha(0.02, 1))
    assert limit_of(PROOF, flag) == 1 / attempt_alpha(0.01, 1)


def test_each_attempt_has_less() -> None:
    assert alpha_of(HARM, asking(HARM, attempt=3)) == attempt_alpha(0.05, 3)
    assert alpha_of(HARM, asking(HARM, attempt=0)) == attempt_alpha(0.05, 1)
