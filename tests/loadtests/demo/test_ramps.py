"""The demo's documents: accepted by the product's own validation; its gate is played through by promtool."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from loadtests.demo.layout import INHOUSE, PARTNER, TRIAL
from loadtests.demo.plan import BREAKING, MOVING, PANEL_EVERY, PANEL_ROUNDS, PANEL_SIZE, RAMP
from loadtests.demo.ramps import ERRORS_GATE, ERRORS_MAX, REQUESTS_MIN, documents, errors_query
from rollout.core.codec import parse_document
from rollout.core.model import FeatureFlag
from rollout.core.promql import MetricQuery, doubts, since
from rollout.core.ramp_model import Role
from rollout.core.ramp_plan import validate

SERIES = 'glidepath_requests_total{feature="f",assigned="%s",served="%s",reason="SPLIT",outcome="%s"}'


def flags(*, gated: bool) -> dict[str, FeatureFlag]:
    return parse_document(json.dumps(documents(gated=gated)))


@pytest.mark.parametrize("feature", [MOVING, BREAKING])
def test_a_gated_ramp_has_no_faults_and_a_gate_that_rolls_back(feature: str) -> None:
    flag = flags(gated=True)[feature]
    assert flag.ramp is not None
    found = validate(flag.ramp, flag.gates, flag.rollback, known_metrics=())
    assert found.faults == ()
    (hard,) = [gate for gate in flag.gates if gate.role is Role.HARD]
    assert (hard.name, hard.limit) == (ERRORS_GATE, ERRORS_MAX)
    assert flag.rollback.to_share == 0


def test_candidates_and_steps_are_as_planned() -> None:
    both = flags(gated=True)
    assert (both[MOVING].candidate, both[BREAKING].candidate) == (INHOUSE, TRIAL)
    assert {flag.baseline for flag in both.values()} == {PARTNER}
    ramp = both[MOVING].ramp
    assert ramp is not None
    assert [step.share for step in ramp.steps] == [1_000, 5_000, 25_000, 50_000, 100_000]
    assert [step.bake_s for step in ramp.steps] == [step.bake_s for step in RAMP]


def test_without_gates_only_time_and_samples_hold() -> None:
    alone = flags(gated=False)
    assert set(alone) == {MOVING}
    assert alone[MOVING].gates == ()
    ramp = alone[MOVING].ramp
    assert ramp is not None
    assert all(step.bake_s > planned.bake_s for step, planned in zip(ramp.steps, RAMP, strict=True))


def test_every_query_looks_no_further_back_than_the_step() -> None:
    for flag in flags(gated=True).values():
        for gate in flag.gates:
            query = MetricQuery(gate.query, gate.max_age_s, gate.newest, gate.samples)
            filled = since(query, 30.0)
            assert "$elapsed" in query.expression
            assert not any("$" in text for text in (filled.expression, filled.newest, filled.samples))
            assert gate.role is not Role.HARD or doubts(query) == ()


def test_the_gate_waits_for_the_panel() -> None:
    """Half of the requests are the panel's until it is through, of the others more than half the moving feature's."""
    panel = PANEL_SIZE * PANEL_ROUNDS
    assert REQUESTS_MIN[MOVING] > panel + panel * (PANEL_EVERY - 1)


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is missing: the demo's gate is NOT played through (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def series(assigned: str, served: str, outcome: str, per_s: int) -> dict[str, str]:
    return {"series": SERIES % (assigned, served, outcome), "values": f"0+{per_s}x60"}


BASELINE = series("baseline", "baseline", "ok", 9)
GOOD = series("candidate", "candidate", "ok", 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([BASELINE], []),
        ([BASELINE, GOOD], [0]),
        ([BASELINE, GOOD, series("candidate", "candidate", "caller_error", 1)], [0]),
        ([BASELINE, GOOD, series("candidate", "", "refused", 1)], [0]),
        # Answered by the baseline: the callers saw no error, and it is the candidate's failure all the same.
        ([BASELINE, GOOD, series("candidate", "baseline", "ok", 1)], [20 / 50]),
        ([BASELINE, GOOD, series("candidate", "candidate", "truncated", 1)], [20 / 50]),
        ([BASELINE, series("candidate", "baseline", "ok", 1)], [20 / 30]),
    ],
    ids=["nobody has it yet", "all well", "callers' errors", "refused", "failed over", "truncated", "all failed over"],
)
def test_failures_count_for_the_assigned_arm(
    promtool: str, tmp_path: Path, given: list[dict[str, str]], expected: list[float]
) -> None:
    query = since(MetricQuery(errors_query("f")), 20.0, 0.0).expression
    asked = {"expr": query, "eval_time": "50s", "exp_samples": [{"labels": "{}", "value": each} for each in expected]}
    tests = {
        "evaluation_interval": "1s",
        "tests": [{"interval": "1s", "input_series": given, "promql_expr_test": [asked]}],
    }
    path = tmp_path / "tests.yml"
    path.write_text(json.dumps(tests), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("SUCCESS", done.stdout + done.stderr)
