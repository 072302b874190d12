"""docs/cost.md reckons as the code does: its example, its settings, its bounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from gateway.pricing import pricing
from gateway.settings import parse
from rollout.api.costs import cost_answer
from rollout.cli.cost_render import cost_text
from rollout.core.cost import PAID_MAX_PICOUSD, PICOUSD, TOKENS_MAX, CostSums, add, one
from rollout.core.cost_report import UNMETERED_RATIO_MAX, cost_report
from rollout.core.cost_sums import REQUESTS_MAX, cost_key, vector_of
from rollout.core.model import Arm, FeatureFlag
from rollout.core.ramp_model import Phase, Progress

PAGE = (Path(__file__).parents[1] / "docs" / "cost.md").read_text("utf-8")
_BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = next(text for kind, text in _BLOCKS if kind == "toml")
OUTPUT = next(text for kind, text in _BLOCKS if kind == "text")
_ROW = re.compile(
    r"^\| ([0-9]+) % \| (candidate|baseline) \| (\w+) \| ([0-9,]+) \| ([0-9,]+) \| ([0-9,]+) \|", re.MULTILINE
)
HOURS = int(re.findall(r"after ([0-9]+) hours", PAGE)[0])
PROGRESS = Progress(phase=Phase.RUNNING, attempt=1, ramp_began_s=0.0)
FLAG = FeatureFlag(
    feature="summarize", candidate="inhouse", baseline="partner", share_millipct=50_000, progress=PROGRESS
)
PRICES = pricing(parse(tomllib.loads(SETTINGS), source="docs/cost.md"))


def times(sums: CostSums, count: int) -> CostSums:
    """The sums of `count` such requests."""
    return CostSums(*(count * each for each in (getattr(sums, name) for name in sums.__struct_fields__)))


def stored() -> dict:
    """What the table of the page adds up to."""
    found: dict = {}
    for share, arm, upstream, count, prompt, completion in _ROW.findall(PAGE):
        number, *tokens = (int(each.replace(",", "")) for each in (count, prompt, completion))
        key = cost_key("summarize", PROGRESS, int(share) * 1_000, Arm(arm))
        made = times(one(PRICES[upstream].tokens, *tokens, accepted=True), number)
        found[key] = add([found.get(key, CostSums()), made])
    return {key: vector_of(sums) for key, sums in found.items()}


def test_the_example_is_what_the_command_prints() -> None:
    report = cost_report(FLAG, stored(), PRICES, HOURS * 3_600.0)
    printed = cost_text(cost_answer(report).model_dump()).splitlines()
    shown = OUTPUT.splitlines()
    assert printed[1:] == shown[1:]
    assert printed[0].startswith(shown[0].partition(",")[0])


def test_the_sums_in_the_text_are_right() -> None:
    report = cost_report(FLAG, stored(), PRICES, HOURS * 3_600.0)
    assert report.saved is not None
    assert report.saved_in_full is not None
    assert f"= ${report.saved.usd:.3f}" in PAGE
    assert f"= ${report.saved_in_full.usd:,.2f}" in PAGE
    assert f"${report.candidate.tokens_usd:.3f}" in PAGE
    theirs = report.baseline
    pooled = report.candidate.requests * theirs.tokens_usd / theirs.requests
    naive = pooled - report.candidate.tokens_usd - report.candidate.gpu_usd
    assert f"${naive:.0f}" in PAGE


def test_the_bounds_in_the_text_are_those_of_the_code() -> None:
    assert f"2^{REQUESTS_MAX.bit_length() - 1} requests" in PAGE
    assert f"2^{TOKENS_MAX.bit_length() - 1} tokens" in PAGE
    assert f"${PAID_MAX_PICOUSD // PICOUSD:,}" in PAGE
    assert f"more than {UNMETERED_RATIO_MAX:.0%}".replace("%", " %") in PAGE
