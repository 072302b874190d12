"""docs/evidence.md says of metrics, gates and lengths of proofs what the code does."""

import json
import math
import re
from pathlib import Path
from statistics import NormalDist

import pytest

from gateway.core.yardsticks import OLDEST_S, UNITS_MIN
from gateway.settings.sections import ChecksSettings
from rollout.core.evidence import clusters
from rollout.core.evidence.eprocess import LAMBDAS, PROOF_WEIGHTS
from rollout.core.evidence.interval import decision_n_eff
from rollout.core.evidence.levels import limit_of
from rollout.core.evidence.names import METRICS
from rollout.core.evidence.rollback import attempt_alpha
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import Evidence, Gate, GateKind, Role

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
STAGES = json.loads((ROOT / "deploy" / "stage-table.json").read_text("utf-8"))["x-rollouts"]["summarize"]
CORE = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "rollout" / "core").rglob("*.py")))

ALPHA = attempt_alpha(0.05, 1)
ERROR_RATE, FAULT_RATE, LATENCY_SIGMA, CHECKED = 0.01, 0.02, 0.5, 0.1
PAIR_VARIANCE, PAIR_FALL = 0.175, 0.5
UNITS_PER_HOUR = 10 * 3_600
COLUMNS = 100
SHOWN = {
    "answers": (GateKind.NONINFERIORITY, "errors"),
    "more-errors": (GateKind.HARM, "errors"),
    "errors-at-all": (GateKind.THRESHOLD, "errors"),
    "slower": (GateKind.HARM, "total_p95"),
    "worse": (GateKind.HARM, "judge"),
    "disliked": (GateKind.HARM, "thumbs"),
}
GATES = tuple(
    Gate(name=name, role=Role.HARD, source="evidence", kind=kind, metric=metric, margin=0.05, limit=0.1, alpha=0.05)
    for name, (kind, metric) in SHOWN.items()
)
FLAG = FeatureFlag(feature="f", candidate="a", baseline="b", gates=GATES)


def section(name: str) -> str:
    return PAGE.partition(f"<!-- {name} -->\n")[2].partition("<!-- /")[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| ").split("|")]


def number(text: str) -> float:
    return float(text.removesuffix(" %").replace(",", ""))


def rounded(value: float) -> float:
    """To two digits."""
    return float(f"{value:.2g}")


def margin(metric: str, share_millipct: int) -> float:
    (gate,) = [each for each in STAGES["gates"] if (each["kind"], each["metric"]) == ("noninferiority", metric)]
    early = [each for each in gate.get("early", ()) if share_millipct < each["below"]]
    found: float = min(early, key=lambda each: each["below"])["margin"] if early else gate["margin"]
    return found


def beyond_later(slower: float) -> float:
    """How many of the baseline's answers are beyond its p95 times 1 + `slower`."""
    normal = NormalDist()
    return 1.0 - normal.cdf(normal.inv_cdf(0.95) + math.log1p(slower) / LATENCY_SIGMA)


@pytest.mark.parametrize("line", section("proof").splitlines()[2:])
def test_how_long_a_proof_takes(line: str) -> None:
    percent, errors, error_units, slower, late_units, form, form_units, hours = map(number, cells(line))
    share = percent / 100
    drawn, millipct = share * (1 - share), round(percent * 1_000)
    asked = [errors, slower / 100, form]
    assert asked == [margin(metric, millipct) for metric in ("errors", "ttft_p95", "form")]
    needed = [
        decision_n_eff(variance, gap, ALPHA, max(share, 1 - share)) / drawn
        for variance, gap in (
            (ERROR_RATE * (1 - ERROR_RATE), errors),
            (0.05 * 0.95, 0.05 - beyond_later(slower / 100)),
            (FAULT_RATE * (1 - FAULT_RATE), form),
        )
    ]
    assert [error_units, late_units, form_units] == [rounded(units) for units in needed]
    longest = max(needed[0], needed[1], needed[2] / CHECKED)
    assert hours == round(longest / UNITS_PER_HOUR, 1)


def test_every_stage_with_both_arms_is_in_the_table() -> None:
    shares = [number(cells(line)[0]) * 1_000 for line in section("proof").splitlines()[2:]]
    assert shares == [step["share"] for step in STAGES["ramp"]["steps"] if 0 < step["share"] < 100_000]


def test_how_many_pairs_a_proof_takes() -> None:
    heads, _, row = (cells(line) for line in section("pairs").splitlines())
    told = dict(zip(map(float, heads[1:]), map(number, row[1:]), strict=True))
    assert told == {each: rounded(decision_n_eff(PAIR_VARIANCE, each, ALPHA, PAIR_FALL)) for each in told}
    shares = [step["share"] for step in STAGES["ramp"]["steps"]]
    assert set(told) == {margin("judge", share) for share in shares}


def test_the_rule_of_thumb() -> None:
    factor = decision_n_eff(1.0, 1.0, ALPHA)
    assert f"{factor:.1f} · variance" in PAGE
    assert f"{decision_n_eff(0.0, 1.0, ALPHA, 1.0):g} · fall ÷ gap" in PAGE
    for small in (0.005, 0.02, 0.1):
        # All outcomes are good and expected to be: each unit gains margin * p(1 - p), and the largest bet wins.
        needed = -math.log(ALPHA * max(PROOF_WEIGHTS)) / (max(LAMBDAS) * small)
        assert needed * small == pytest.approx(7, abs=0.5)
    assert "needs about 7 ÷ margin" in PAGE


def test_every_metric_has_its_row() -> None:
    table = PAGE.partition("## What each metric's outcome is")[2].partition("\n\n- ")[0]
    first = "".join(cells(line)[0] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first)) == METRICS


def test_every_kind_of_gate_and_every_role_is_there() -> None:
    for word in (*GateKind, *Role, *(kind for kind in UnitKind if kind is not UnitKind.REQUEST)):
        assert re.search(rf"\b{word.value}\b", PAGE), word


def test_the_levels_that_are_told() -> None:
    assert [f"{limit_of(gate, FLAG):.4g}" for gate in GATES[:2]] == ["32.9", "98.7"]
    assert "32.9 = 1/(0.05" in PAGE
    assert "needs 99" in PAGE
    assert [f"{attempt_alpha(0.05, attempt):.2g}" for attempt in (1, 2)] == ["0.03", "0.0076"]


def test_the_samples_are_as_they_were_printed() -> None:
    ramp, rolled_back = re.findall(r"```\n(store ok.+?)```", PAGE, re.DOTALL)
    assert max(map(len, (ramp + rolled_back).splitlines())) <= COLUMNS
    limits = {gate.name: f"{limit_of(gate, FLAG):.0f}" for gate in GATES}
    for sample in (ramp, rolled_back):
        told = {name: re.search(rf"^  {name} .* (\d+) +\d+ +\S+( \S+)?$", sample, re.MULTILINE) for name in limits}
        assert {name: found and found[1] for name, found in told.items()} == limits
    failed, of = re.findall(r"\((\d+) of (\d+)\s+units of the candidate failed", rolled_back)[0]
    assert f"{failed} failures in {of} of its units" in PAGE


def test_numbers_of_the_text() -> None:
    assert (Evidence().age, Evidence().feedback_age) == ("30s", "1h")
    assert ChecksSettings().sample_millipct == CHECKED * 100_000
    assert (UNITS_MIN, OLDEST_S) == (50, 3_600)
    assert (clusters.GROUPS, clusters.CANDIDATE_GROUPS_MIN) == (128, 30)
    assert (clusters.GROUP_SHARE_MAX, clusters.SPREAD_SHARE_MAX, clusters.BAD_OUTCOMES_MIN) == (0.1, 0.25, 10)


@pytest.mark.parametrize(
    "words",
    [
        "and worse is excluded",
        "decided in about",
        "after they arrived",
        "proven, but an e-value for harm of",
        "no unit has come of age",
        "no pair has a score",
        "the judge loses too many answers",
        "groups of candidate users",
        "one group of users weighs over",
        "bad outcomes in an arm",
        "harm at the final margin looks likely",
        "the arms' sizes contradict the share",
        "not of this plan",
        "everybody has",
        "together",
    ],
)
def test_what_is_quoted_is_said(words: str) -> None:
    assert words in PAGE
    assert words in CORE


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)[^)]*\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
