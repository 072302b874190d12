import random

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer
from gateway.core.series import Ledger, Series
from gateway.metrics import Counter, Histogram, Metrics, Sum, gauge


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


def test_each_check_of_an_answer_is_counted_by_what_it_found() -> None:
    metrics = Metrics()
    checks = Checks(empty=False, truncated=None, refusal=True)
    metrics.checking.add(CheckedAnswer("r", 1.0, "draft", 1, "candidate", "user", 5, checks))
    metrics.checking.skip("draft", "crowded")
    found = {labels[2:]: count for labels, count in metrics.checking.checks.series.items()}
    assert found == {
        ("empty", "fine"): 1,
        ("truncated", "not_applicable"): 1,
        ("refusal", "fault"): 1,
        **{(name, "not_applicable"): 1 for name in ("repetition", "invalid_json", "wrong_language", "echo")},
    }
    assert metrics.checking.unchecked.series == {("draft", "crowded"): 1}


def test_a_sum_may_fall() -> None:
    measured = Sum("g", "text", ("a",))
    measured.add(("x",), 5.0)
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


def counted() -> Metrics:
    metrics = Metrics()
    metrics.requests.add(("draft", "candidate", "candidate", "SPLIT", "ok"), 2)
    metrics.quality_sum.add(("draft", "candidate", "rating"), -0.5)
    for amount in (0.0, 0.2, 1e9):
        metrics.duration.cell("chat", "copilot/draft", "inhouse", "candidate", "").observe(amount)
    return metrics


def test_what_one_process_counted_is_the_same_in_another() -> None:
    metrics, merged = counted(), Metrics()
    for series in metrics.changes():
        merged.absorb(series)
    assert samples(merged) == samples(metrics)


def test_several_processes_add_up() -> None:
    merged = Metrics()
    for metrics in (counted(), counted()):
        for series in metrics.changes():
            merged.absorb(series)
    assert samples(merged) == {key: 2 * value for key, value in samples(counted()).items()}


def test_only_what_changed_is_told_again_and_as_a_whole() -> None:
    metrics = counted()
    assert len(metrics.changes()) == 3
    assert metrics.changes() == []
    metrics.requests.add(("draft", "candidate", "candidate", "SPLIT", "ok"))
    labels = ("chat", "copilot/draft", "inhouse", "candidate", "")
    metrics.duration.cell(*labels).observe(0.0)
    requests, duration = sorted(metrics.changes(), key=lambda series: series.family, reverse=True)
    assert requests == Series("glidepath_requests", ("draft", "candidate", "candidate", "SPLIT", "ok"), (3.0,))
    assert (duration.labels, sum(duration.values[:-1])) == (labels, 4)


@pytest.mark.parametrize(
    "series",
    [
        Series("nothing", (), (1.0,)),
        Series("glidepath_failovers", (), (1.0,)),
        Series("glidepath_failovers", ("draft",), (1.0, 2.0)),
        Series("glidepath_overhead_seconds", ("a", "b", "c", "d"), (1.0,)),
    ],
)
def test_a_series_that_is_none_of_ours_is_refused(series: Series) -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match=series.family):
        metrics.absorb(series)
    assert metrics.changes() == []


def traced(amount: float, trace_id: str, at_s: float) -> Metrics:
    metrics = Metrics()
    cell = metrics.duration.cell("chat", "copilot/draft", "inhouse", "candidate", "")
    cell.observe(amount)
    cell.mark(amount, trace_id, at_s)
    return metrics


def exemplars(metrics: Metrics) -> dict[str, tuple[str, float, float]]:
    """By upper bound: trace id, value, time; as OpenMetrics tells them."""
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_openmetrics(registry).decode()
    return {
        sample.labels["le"]: (
            sample.exemplar.labels["trace_id"],
            sample.exemplar.value,
            float(sample.exemplar.timestamp),
        )
        for family in openmetrics_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_each_bucket_shows_the_last_traced_request_of_all_workers() -> None:
    ledger, merged = Ledger(), Metrics()
    workers = [traced(0.2, "a" * 32, 10.0), traced(0.25, "b" * 32, 11.0), traced(1e9, "c" * 32, 12.0)]
    for number, worker in enumerate(workers):
        ledger.take(number, worker.changes())
    for series in ledger.totals():
        merged.absorb(series)
    assert exemplars(merged) == {"0.32": ("b" * 32, 0.25, 11.0), "+Inf": ("c" * 32, 1e9, 12.0)}
    assert all("trace" not in str(labels) for _, labels in samples(merged))


def test_an_exemplar_travels_once() -> None:
    metrics = traced(0.2, "a" * 32, 10.0)
    (first,) = metrics.changes()
    assert [each.trace_id for each in first.exemplars] == ["a" * 32]
    metrics.duration.cell("chat", "copilot/draft", "inhouse", "candidate", "").observe(0.2)
    (second,) = metrics.changes()
    assert second.exemplars == ()


def test_without_traces_there_are_no_exemplars() -> None:
    assert exemplars(counted()) == {}


def test_a_counter_shows_what_is_counted_elsewhere() -> None:
    metrics, lost = Metrics(), 0
    assert ("glidepath_access_log_dropped_total", frozenset()) not in samples(metrics)
    metrics.follow(metrics.losses.access_log, lambda: lost)
    assert samples(metrics)["glidepath_access_log_dropped_total", frozenset()] == 0.0
    lost = 3
    assert samples(metrics)["glidepath_access_log_dropped_total", frozenset()] == 3.0
    lost = 5
    assert metrics.changes() == [Series("glidepath_access_log_dropped", (), (5.0,))]
    assert metrics.changes() == []
