import random

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Counter, Gauge, Histogram, Metrics, gauge


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_counter_sums_by_labels() -> None:
    counter = Counter("c", "text", ("a", "b"))
    counter.add(("x", "y"))
    counter.add(("x", "y"), 2.5)
    counter.add(("x", "z"))
    family = counter.family()
    assert {(s.name, s.labels["b"]): s.value for s in family.samples} == {("c_total", "y"): 3.5, ("c_total", "z"): 1.0}


def test_a_gauge_is_set_and_added_to() -> None:
    measured = Gauge("g", "text", ("a",))
    measured.set(("x",), 5.0)
    measured.add(("x",), -2.0)
    assert [(s.name, s.value) for s in measured.family().samples] == [("g", 3.0)]


def test_a_histogram_is_cumulative_with_inclusive_bounds() -> None:
    histogram = Histogram("h", "text", ("a",), (1.0, 2.0))
    for amount in (0.5, 1.0, 1.5, 2.0, 99.0):
        histogram.cell("x").observe(amount)
    values = {(s.name, s.labels.get("le")): s.value for s in histogram.family().samples}
    assert values == {
        ("h_bucket", "1.0"): 2.0,
        ("h_bucket", "2.0"): 4.0,
        ("h_bucket", "+Inf"): 5.0,
        ("h_count", None): 5.0,
        ("h_sum", None): 104.0,
    }


def test_a_cell_is_one_series() -> None:
    histogram = Histogram("h", "text", ("a",), (1.0,))
    assert histogram.cell("x") is histogram.cell("x")
    assert histogram.cell("x") is not histogram.cell("y")


def test_any_amount_lands_in_exactly_one_bucket() -> None:
    draw = random.Random(1)
    metrics = Metrics()
    cell = metrics.duration.cell("chat", "m", "u", "a", "")
    amounts = [draw.expovariate(0.1) for _ in range(1_000)]
    for amount in amounts:
        cell.observe(amount)
    assert sum(cell.counts) == 1_000
    assert cell.total == pytest.approx(sum(amounts))


def test_what_prometheus_reads() -> None:
    metrics = Metrics()
    metrics.requests.add(("draft", "candidate", "candidate", "SPLIT", "ok"))
    metrics.feedback.add(("draft", "candidate", "rating"))
    metrics.duration.cell("chat", "copilot/draft", "inhouse", "candidate", "").observe(0.2)
    metrics.add_source(lambda: [gauge("now", "text", ("a",), [(("x",), 3.0)])])
    read = samples(metrics)
    labels = {"feature": "draft", "assigned": "candidate", "served": "candidate", "reason": "SPLIT", "outcome": "ok"}
    assert read["glidepath_requests_total", frozenset(labels.items())] == 1.0
    assert read["now", frozenset({("a", "x")})] == 3.0
    assert any(name == "gen_ai_server_request_duration_seconds_bucket" for name, _ in read)


def test_every_family_has_a_name_a_text_and_no_caller_in_its_labels() -> None:
    families = list(Metrics().collect())
    assert len({family.name for family in families}) == len(families) >= 12
    for family in families:
        assert family.documentation.endswith(".")
        assert family.name.startswith(("gen_ai_", "glidepath_"))
    own = [each for each in vars(Metrics()).values() if hasattr(each, "labels")]
    assert not {label for each in own for label in each.labels} & {"user", "key", "tenant", "request_id", "prompt"}


def test_buckets_rise() -> None:
    for histogram in (each for each in vars(Metrics()).values() if isinstance(each, Histogram)):
        assert list(histogram.buckets) == sorted(set(histogram.buckets))
