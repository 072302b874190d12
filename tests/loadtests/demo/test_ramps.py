"""The demo's documents: valid by the product's own rules, provable by the demo's traffic, played by promtool."""

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loadtests.demo.layout import INHOUSE, INHOUSE_WORSE, PARTNER, TRIALS
from loadtests.demo.partner import Partner
from loadtests.demo.plan import (
    AGE_S,
    BREAKING,
    FEEDBACK_AGE_S,
    HARMS,
    MOVING,
    PANEL_EVERY,
    PANEL_ROUNDS,
    PANEL_SIZE,
    PROOFS,
    RAMP,
    RAMPS,
    REAL_AGE_S,
    SLOWING,
    WORSE,
)
from loadtests.demo.ramps import ERRORS_MAX, FLOOR_GATE, REQUESTS_MIN, documents, errors_query
from rollout.core.codec import parse_document
from rollout.core.evidence.eprocess import log_sums_of_each, log_value
from rollout.core.evidence.names import METRICS
from rollout.core.model import FeatureFlag
from rollout.core.promql import MetricQuery, doubts, since
from rollout.core.ramp_model import Gate, GateKind, Role
from rollout.core.ramp_plan import validate

SERIES = 'glidepath_requests_total{feature="f",assigned="%s",served="%s",reason="SPLIT",outcome="%s"}'
SIMULATED = Partner(simulated=True, base_url="http://s/v1", model="s", key_variable=None)
UNITS_MAX = 1_200
"""Of the moving feature in a step: half a minute at 40 a second."""


def flags(*, gated: bool = True, partner: Partner = SIMULATED) -> dict[str, FeatureFlag]:
    return parse_document(json.dumps(documents((INHOUSE, INHOUSE_WORSE), partner, gated=gated)))


def named(flag: FeatureFlag, name: str) -> Gate:
    (gate,) = [gate for gate in flag.gates if gate.name == name]
    return gate


@pytest.mark.parametrize("feature", RAMPS)
def test_a_ramp_has_no_faults_and_asks_for_known_metrics(feature: str) -> None:
    flag = flags()[feature]
    assert flag.ramp is not None
    found = validate(flag.ramp, flag.gates, flag.rollback, known_metrics=METRICS)
    assert found.faults == ()
    assert {gate.role for gate in flag.gates} == {Role.HARD}
    assert flag.rollback.to_share == 0
    assert flag.evidence.feedback_age_s < flag.ramp.steps[0].bake_s + 10


def test_candidates_and_steps_are_as_planned() -> None:
    all_flags = flags()
    assert {feature: flag.candidate for feature, flag in all_flags.items()} == {
        MOVING: INHOUSE,
        WORSE: INHOUSE_WORSE,
        BREAKING: TRIALS[BREAKING],
        SLOWING: TRIALS[SLOWING],
    }
    assert {flag.baseline for flag in all_flags.values()} == {PARTNER}
    for feature, steps in RAMPS.items():
        ramp = all_flags[feature].ramp
        assert ramp is not None
        assert [(step.share, step.bake_s) for step in ramp.steps] == [
            (each.share_millipct, each.bake_s) for each in steps
        ]


def test_a_real_partner_is_given_more_time_and_no_part_in_staged_harm() -> None:
    real = flags(partner=SIMULATED._replace(simulated=False))
    ages_s = {feature: (flag.evidence.age_s, flag.evidence.feedback_age_s) for feature, flag in real.items()}
    assert {feature for feature, flag in real.items() if flag.baseline == PARTNER} == {MOVING}
    assert ages_s.pop(MOVING) == (REAL_AGE_S, REAL_AGE_S)
    assert set(ages_s.values()) == {(AGE_S, FEEDBACK_AGE_S)}


def test_each_harm_has_its_gate_and_each_step_its_proofs() -> None:
    all_flags = flags()
    for harm in HARMS:
        assert named(all_flags[harm.feature], harm.gate).kind is GateKind.HARM
    for flag in all_flags.values():
        assert {gate.name for gate in flag.gates if gate.kind is GateKind.NONINFERIORITY} == set(PROOFS)


def test_without_prometheus_only_the_floor_is_left_out() -> None:
    gated, alone = flags(), flags(gated=False)
    assert set(alone) == set(gated)
    assert not any(gate.source == "promql" for flag in alone.values() for gate in flag.gates)
    lost = set(gated[MOVING].gates) - set(alone[MOVING].gates)
    assert [gate.name for gate in lost] == [FLOOR_GATE]
    assert all(gated[feature] == alone[feature] for feature in RAMPS if feature != MOVING)


@pytest.mark.parametrize("step", RAMP[:-1], ids=lambda step: str(step.share_millipct))
@pytest.mark.parametrize("proof", PROOFS)
def test_seconds_of_traffic_prove_equal_arms_at_each_step(proof: str, step: object) -> None:
    """Of arms that never differ each unit says margin * p(1 - p), see rollout.core.evidence.score."""
    share_millipct = getattr(step, "share_millipct", 0)
    gate = named(flags()[MOVING], proof)
    fitting = [early for early in gate.early if share_millipct < early.below]
    margin = min(fitting, key=lambda early: early.below).margin if fitting else gate.margin
    share = share_millipct / 100_000
    each = (margin or 0.0) * share * (1 - share)
    (sums,) = log_sums_of_each(np.full((1, UNITS_MAX), each))
    assert log_value(sums) >= math.log(1 / (gate.alpha or 1.0))


def test_the_floor_looks_no_further_back_than_the_step() -> None:
    gate = named(flags()[MOVING], FLOOR_GATE)
    query = MetricQuery(gate.query, gate.max_age_s, gate.newest, gate.samples)
    filled = since(query, 30.0)
    assert "$elapsed" in query.expression
    assert not any("$" in text for text in (filled.expression, filled.newest, filled.samples))
    assert doubts(query) == ()
    assert gate.limit == ERRORS_MAX


def test_the_floor_waits_for_the_panel() -> None:
    """Half of the requests are the panel's until it is through, of the others more than half the moving feature's."""
    panel = PANEL_SIZE * PANEL_ROUNDS
    assert panel + panel * (PANEL_EVERY - 1) < REQUESTS_MIN


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
