"""docs/flag-document.md names every field with its default, and its example gate counts what it should."""

import json
import os
import re
import shutil
import subprocess
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.cli.yaml_text import read_yaml
from rollout.core.evidence.names import METRICS
from rollout.core.model import Eligibility, FeatureFlag, Keep, Shadow
from rollout.core.promql import MetricQuery, doubts, since
from rollout.core.ramp_model import (
    EVERY_DAY,
    EarlyMargin,
    Evidence,
    FailureRule,
    Freeze,
    Gate,
    RampPlan,
    Rollback,
    Step,
    Window,
)

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "flag-document.md").read_text("utf-8")
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "A feature": FeatureFlag,
    "`ramp`": RampPlan,
    "`ramp.steps`": Step,
    "`ramp.windows`": Window,
    "`ramp.freezes`": Freeze,
    "`gates`": Gate,
    "`gates.early`": EarlyMargin,
    "`gates.failure`": FailureRule,
    "`evidence`": Evidence,
    "`rollback`": Rollback,
    "`shadow`": Shadow,
    "`shadow.keep`": Keep,
    "`eligibility`": Eligibility,
}
NAMED_APART = {"feature"}
"""The key of the entry, not a field in it."""


def rows(section: str) -> dict[str, str]:
    """Field -> default, as the section's table has them."""
    table = PAGE.partition(f"\n### {section}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", table, re.MULTILINE))


def as_told(default: object) -> str | None:
    """How the page has a default; None where words say it."""
    for special, words in ((msgspec.NODEFAULT, "required"), (None, "none"), (EVERY_DAY, "every day")):
        if default is special:
            return words
    if default in ("", ()):
        return "empty"
    if isinstance(default, Enum):
        return f"`{default.value}`"
    return f"`{str(default).lower()}`" if isinstance(default, str | int) else None


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_with_its_default(section: str) -> None:
    told = rows(section)
    fields = [field for field in msgspec.structs.fields(SECTIONS[section]) if field.encode_name not in NAMED_APART]
    assert set(told) == {field.encode_name for field in fields}
    for field in fields:
        expected = as_told(field.default)
        assert expected is None or told[field.encode_name] == expected, field.name


def test_defaults_that_words_tell() -> None:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b")
    assert (flag.holdout.millipct, flag.shadow.millipct, flag.kill.on) == (0, 0, False)
    assert (flag.rollback.mode, flag.rollback.to_share) == ("instant", 0)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https://)([^)#]+)[^)]*\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_the_stage_table_is_the_one_to_copy() -> None:
    shown = re.findall(r"```json\n(.*?)```", PAGE.partition("### The stage table")[2], re.DOTALL)[0]
    assert shown == (ROOT / "deploy" / "stage-table.json").read_text("utf-8")


def test_every_metric_of_evidence_has_its_row() -> None:
    table = PAGE.partition("## Gates of evidence\n")[2].partition("\n\n|")[2].partition("\n\n")[0]
    first = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", first)) == METRICS


SERIES = 'glidepath_requests_total{feature="summarize",assigned="%s",served="%s",reason="SPLIT",outcome="%s"}'


def example_gate() -> dict[str, Any]:
    document = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    gate: dict[str, Any] = read_yaml(document.encode())["x-rollouts"]["summarize"]["gates"][0]
    return gate


def series(assigned: str, served: str, outcome: str, per_s: int) -> dict[str, str]:
    return {"series": SERIES % (assigned, served, outcome), "values": f"0+{per_s}x60"}


BASELINE = series("baseline", "baseline", "ok", 9)
GOOD = series("candidate", "candidate", "ok", 1)
FELL_BACK = series("candidate", "baseline", "ok", 1)


def test_nothing_about_the_example_gate_is_doubtful() -> None:
    gate = example_gate()
    assert doubts(MetricQuery(gate["query"], newest=gate["newest"], samples=gate["samples"])) == ()


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        message = "promtool is missing: the documented gate is NOT played through (apt install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.mark.parametrize(
    ("given", "value", "samples"),
    [
        ([BASELINE], [], []),
        ([BASELINE, GOOD], [0], [20]),
        ([BASELINE, GOOD, series("candidate", "candidate", "caller_error", 1)], [0], [20]),
        ([BASELINE, GOOD, series("candidate", "", "refused", 1)], [0], [20]),
        ([BASELINE, GOOD, FELL_BACK], [0.5], [40]),
        ([BASELINE, FELL_BACK], [1], [20]),
    ],
    ids=["nobody has it yet", "never failed", "callers' errors", "refused", "half fell back", "dead candidate"],
)
def test_the_example_gate_counts_by_the_assigned_arm(
    promtool: str, tmp_path: Path, given: list[dict[str, str]], value: list[float], samples: list[float]
) -> None:
    gate = example_gate()
    query = since(MetricQuery(gate["query"], newest=gate["newest"], samples=gate["samples"]), 20.0, 0.0)
    asked = ((query.expression, value), (query.samples, samples), (query.newest, [50.0]))
    expected = [
        {"expr": text, "eval_time": "50s", "exp_samples": [{"labels": "{}", "value": each} for each in values]}
        for text, values in asked
    ]
    played = {"interval": "1s", "input_series": given, "promql_expr_test": expected}
    path = tmp_path / "tests.yml"
    path.write_text(json.dumps({"evaluation_interval": "1s", "tests": [played]}), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
