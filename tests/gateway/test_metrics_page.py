"""docs/metrics.md, the alert rules and the code name the same metrics with the same labels."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from gateway.core.checks.sampling import CheckSample
from gateway.fleet import RESTART_REASONS
from gateway.gauges import check_gauges, judge_gauges, worker_gauges
from gateway.judges import Judges
from gateway.metrics import Metrics, gauge_family
from gateway.page import Page
from gateway.quotas import Quotas
from gateway.settings import Settings
from gateway.switchboard import Switchboard
from gateway.tenants import Tenants
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.follower import Follower
from rollout.gauges import ramp_families

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "metrics.md").read_text("utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8"))["groups"][0]["rules"]
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|((?: `\w+`)*) \| (.+) \|$", re.MULTILINE)
OF_PROMETHEUS = {"up": {"job", "instance"}}
LABELS_OF_PROMETHEUS = {"instance", "job"}
Described = dict[str, tuple[str, tuple[str, ...]]]
"""Type and labels by name, as scraped."""


class NoWorkers:
    """A fleet before its first worker."""

    def __init__(self) -> None:
        self.board = Switchboard()
        self.restarts = Counter(dict.fromkeys(RESTART_REASONS, 0))


@pytest.fixture
async def declared(relay_gateway, unused_port: int, tmp_path: Path, stack) -> Described:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    follower = Follower(store, WallClock())
    relay = (await relay_gateway(candidate=unused_port, baseline=unused_port)).relay
    judges = Judges({}, lambda: follower.snapshot, Tenants(Settings()), Metrics().judging)
    readings = (
        *worker_gauges(relay, follower, Quotas(store))(),
        *judge_gauges(judges)(),
        *check_gauges(CheckSample())(),
    )
    of_workers = map(gauge_family, readings)
    page = Page(NoWorkers(), follower, lambda: ramp_families(follower, None))
    families = [*page.collect(), *of_workers]
    names = [family.name + "_total" * (family.type == "counter") for family in families]
    assert len(set(names)) == len(names)
    return {name: (each.type, tuple(each._labelnames)) for name, each in zip(names, families, strict=True)}


def documented() -> Described:
    return {name: (kind, tuple(re.findall(r"\w+", labels))) for name, kind, labels, _ in ROW.findall(DOCS)}


async def test_the_page_describes_every_metric_with_its_labels(declared: Described) -> None:
    assert documented() == declared


def test_every_row_of_the_page_can_be_read() -> None:
    rows = [line for line in DOCS.splitlines() if line.startswith("| `")]
    assert len(rows) == len(documented()) == len(ROW.findall(DOCS))


def test_the_alerts_that_the_page_names_are_those_that_there_are() -> None:
    named = set(re.findall(r"Glidepath[A-Z]\w+", DOCS))
    assert named == {rule["alert"] for rule in RULES} - {"GlidepathDown"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
async def test_a_rule_asks_for_metrics_and_labels_that_exist(rule, declared: Described) -> None:
    expression = re.sub(r'"[^"]*"', '""', rule["expr"])
    names = set(re.findall(r"\b(?:glidepath|gen_ai)_\w+", expression)) or {"up"}
    known = {name: set(labels) for name, (_, labels) in declared.items()} | OF_PROMETHEUS
    buckets = {f"{name}_bucket": {*labels, "le"} for name, (kind, labels) in declared.items() if kind == "histogram"}
    known |= buckets
    assert names <= set(known)
    labels = set().union(*(known[name] for name in names)) | LABELS_OF_PROMETHEUS
    used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r"==|<=|>=", "", expression)))
    for group in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
        used |= set(re.findall(r"\w+", group))
    shown = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert used | shown <= labels
    kept = set().union(*map(set, (re.findall(r"\w+", g) for g in re.findall(r"\bby \(([^)]*)\)", expression))))
    assert not kept or shown <= kept
