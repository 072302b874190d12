import pytest
from msgspec.structs import replace

from rollout.core.evidence.asking import evidence_faults
from rollout.core.evidence.plans import MARGINS_MAX
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Evidence, FailureRule, Gate, GateKind, RampPlan, Role, Step

HARM = Gate(name="g", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05, alpha=0.05)
PROOF = replace(HARM, kind=GateKind.NONINFERIORITY, early=(EarlyMargin(25_000, 0.1), EarlyMargin(5_000, 0.2)))
FLOOR = replace(HARM, kind=GateKind.THRESHOLD, margin=None, limit=0.1)
PAIRS = replace(HARM, metric="judge", margin=0.49)
SLOW = replace(PROOF, metric="ttft_p95")
WITHIN = replace(FLOOR, metric="total_p99", limit=29.9)


def faults(*gates: Gate, evidence: Evidence | None = None) -> list[str]:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b", gates=gates, evidence=evidence or Evidence())
    return list(evidence_faults(flag))


def test_what_can_be_asked() -> None:
    assert faults(HARM, PROOF, FLOOR, replace(FLOOR, direction="higher"), PAIRS, SLOW, WITHIN) == []
    assert faults(replace(HARM, margin=None)) == []  # told of every gate without a margin
    assert faults(replace(FLOOR, limit=None)) == faults(replace(HARM, metric="unknown", margin=7.0)) == []
    assert faults(replace(HARM, source="promql", margin=7.0)) == []


@pytest.mark.parametrize(
    ("gate", "fault"),
    [
        (replace(HARM, margin=1.0), "has a margin of 1, but it is a difference of rates"),
        (replace(PAIRS, margin=0.5), "has a margin of 0.5, but wins are compared with a half"),
        (replace(SLOW, early=(EarlyMargin(5_000, 10.5),)), "allows 11.5 times the baseline's time"),
        (replace(HARM, early=PROOF.early), "has early margins, which only noninferiority can ask"),
        (replace(FLOOR, early=PROOF.early), "has early margins, which only noninferiority can ask"),
        (replace(PROOF, early=(EarlyMargin(5_000, 0.05),)), "no wider than what follows"),
        (replace(PROOF, early=(EarlyMargin(5_000, 0.1), EarlyMargin(25_000, 0.2))), "no wider than what follows"),
        (replace(PROOF, early=(EarlyMargin(5_000, 0.1), EarlyMargin(5_000, 0.2))), "two early margins for the same"),
        (replace(PAIRS, kind=GateKind.THRESHOLD, margin=None, limit=1.5), "has a limit of 1.5, but it is a rate"),
        (replace(FLOOR, limit=1.0), "has a limit of 1, but it is a rate"),
        (replace(FLOOR, limit=0.0), "has a limit of 0, but it is a rate"),
        (replace(WITHIN, direction="higher"), "latency is better the lower it is"),
        (replace(WITHIN, limit=30.0), "has a limit of 30 s: a unit is looked at 30s after it arrived"),
        (replace(WITHIN, limit=0.0), "has a limit of 0 s"),
        (replace(HARM, query="up"), "has a query, but nobody asks Prometheus"),
        (replace(FLOOR, samples="up"), "has a query, but nobody asks Prometheus"),
        (replace(PROOF, window="5m"), "has a window, but evidence looks back over its whole scope"),
        (replace(HARM, failure=FailureRule(3)), "has a failure rule, but its first FAIL counts"),
        (replace(FLOOR, margin=0.1), "has a margin, but asks the candidate alone"),
        (replace(HARM, direction="higher"), "has a direction, but compares with the baseline"),
        (replace(PROOF, limit=0.1), "has a limit, but compares with the baseline"),
        (Gate(name="g", role=Role.HARD, source="promql", kind=GateKind.THRESHOLD, alpha=0.05), "how many FAILs count"),
    ],
)
def test_what_makes_no_sense_is_a_fault(gate: Gate, fault: str) -> None:
    (found,) = faults(gate)
    assert found.startswith("gate 'g' ")
    assert fault in found


def ramping(gate: Gate, *shares: int) -> list[str]:
    plan = RampPlan(steps=tuple(Step(share=share, bake="1m") for share in shares))
    return list(evidence_faults(FeatureFlag(feature="f", candidate="a", baseline="b", gates=(gate,), ramp=plan)))


def test_a_ramp_must_ask_what_its_gates_want_to_know() -> None:
    """At 0 and 100 % nothing is drawn, and nothing is asked: a plan of such steps would pass by time alone."""
    for gate in (HARM, PROOF, FLOOR, SLOW, WITHIN):
        for shares in ((100_000,), (0, 100_000), (0,)):
            (found,) = ramping(gate, *shares)
            assert found == "gate 'g' is never asked: no step has a share between 0% and 100%"
        assert ramping(gate, 0, 1_000, 25_000, 100_000) == []
        assert ramping(replace(gate, role=Role.OBSERVE), 0, 100_000) == []
    assert ramping(PAIRS, 0, 100_000) == []


def test_the_final_margin_is_asked_before_everybody_gets_the_candidate() -> None:
    (found,) = ramping(PROOF, 1_000, 5_000, 100_000)
    assert found == (
        "gate 'g' never asks for its margin of 0.05 before everybody gets the candidate: at 5% it asks for 0.1"
    )
    assert ramping(PROOF, 1_000, 5_000) == ramping(PROOF, 1_000, 25_000, 100_000) == []


@pytest.mark.parametrize(
    ("age", "feedback_age", "told"),
    [
        ("0s", "1h", "age is 0s"),
        ("11m", "1h", "age is 11m"),
        ("30s", "29s", "feedback_age"),
        ("1s", "2h", "is 2h"),
    ],
)
def test_ages_are_bounded(age: str, feedback_age: str, told: str) -> None:
    (found,) = faults(evidence=Evidence(age, feedback_age))
    assert told in found
    assert faults(evidence=Evidence("10m", "10m")) == faults(evidence=Evidence("1s", "1s")) == []


def test_margins_that_do_not_fit_one_vector_are_too_many() -> None:
    gates = [replace(HARM, name=f"g{each}", margin=each / 100) for each in range(1, MARGINS_MAX + 2)]
    assert faults(*gates[1:]) == []
    assert faults(*gates) == [f"the gates ask for too many margins of form: at most {MARGINS_MAX} in all"]


def test_flags_by_user_have_less_room() -> None:
    margins = [replace(SLOW, name=f"g{number}", margin=0.1 * number, early=()) for number in range(1, 99)]
    flag = FeatureFlag(feature="f", candidate="a", baseline="b", gates=tuple(margins))
    assert not any("no room" in each for each in evidence_faults(flag))
    by_user = replace(flag, bucket_by=UnitKind.USER)
    assert any("flags by user have no room for so many steps and gates" in each for each in evidence_faults(by_user))
