import pytest

from loadtests.bench import targets
from loadtests.bench.estimates import Estimate
from loadtests.bench.figures import Figure
from loadtests.bench.results import Document, Verdict


def measured(low: float, high: float, coverage: float = 0.95) -> Estimate:
    return Estimate((low + high) / 2, low, high, coverage, 9)


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [
        (measured(2, 3), Verdict.MET, Verdict.MET),
        (measured(2.5, 3), Verdict.MET, Verdict.UNCLEAR),
        (measured(1, 1.9), Verdict.MISSED, Verdict.MET),
        (measured(1, 2), Verdict.UNCLEAR, Verdict.MET),
        (measured(2.1, 4), Verdict.MET, Verdict.UNCLEAR),
        (measured(3.1, 4), Verdict.MET, Verdict.MISSED),
        (measured(9, 9, coverage=0.5), Verdict.UNCLEAR, Verdict.UNCLEAR),
        (None, Verdict.NOT_MEASURED, Verdict.NOT_MEASURED),
    ],
)
def test_a_verdict_is_of_the_whole_interval(given: Estimate | None, least: Verdict, most: Verdict) -> None:
    bounds = (2, 3) if given is None or given.low != 2.5 else (2, 2.9)
    assert targets.verdict(given, bounds[0], at_least=True) == least
    assert targets.verdict(given, bounds[1], at_least=False) == most


def test_every_goal_of_the_design_is_judged(document: Document) -> None:
    assert {row.name: row.verdict.value for row in document.targets} == {
        "requests/s, non-stream: over the fastest Rust router": "met",
        "requests/s, non-stream: over nginx": "met",
        "streams/s, 64 events: over the fastest Rust router": "not measured",
        "streams/s, 64 events: over nginx": "not measured",
        "added at 1,000 requests/s, p50": "missed",
        "added at 1,000 requests/s, p99": "missed",
        "added at 1,000 requests/s with evidence, p50": "not measured",
        "added at 1,000 requests/s with evidence, p99": "not measured",
        "scaling to 2 workers": "met",
        "scaling to 4 workers": "not measured",
        "memory of an idle stream": "met",
        "its growth while held": "met",
        "flag decision": "unclear",
        "CPU of a 100 KB prompt over 1 KB": "met",
    }


def test_by_cpu_the_router_that_needs_least_is_the_one_to_beat(plain: list[Figure]) -> None:
    router, nginx = targets.per_cpu("requests", plain, ["vllm-router", "sglang-router"])
    assert (router.measured, router.note) == (Estimate(2.0, 2.0, 2.0, 0.9375, 5), "beside vllm-router")
    assert (router.goal, nginx.goal) == (1.5, 0.5)
    assert nginx.measured is not None
    assert nginx.measured.value == pytest.approx(0.6)
    assert targets.per_cpu("streams", plain, [])[1].goal == 0.6


def test_without_figures_nothing_is_said_of_cpu() -> None:
    router, nginx = targets.per_cpu("paced streams", [], ["vllm-router"])
    assert {router.verdict, nginx.verdict} == {Verdict.NOT_MEASURED}
    assert router.note == "no Rust router was measured"


def test_the_fastest_router_is_the_one_to_beat(document: Document) -> None:
    first = document.targets[0]
    assert (first.measured, first.note) == (Estimate(2.0, 2.0, 2.0, 0.9375, 5), "beside vllm-router")


def test_without_a_router_that_goal_is_not_measured(document: Document) -> None:
    first, second, *_ = targets.speed(document.throughput, "64 events", [])
    assert (first.verdict, first.note) == (Verdict.NOT_MEASURED, "no Rust router was measured")
    assert second.measured == Estimate(0.6, 0.6, 0.6, 0.9375, 5)


def test_a_larger_prompt_is_compared_within_turns(plain: list[Figure]) -> None:
    (row,) = targets.size(plain)
    assert row.measured == Estimate(1.5, 1.5, 1.5, 0.9375, 5)
    assert targets.size(plain[:5])[0].verdict is Verdict.NOT_MEASURED


def test_units_are_those_of_the_goal(document: Document) -> None:
    by_name = {row.name: row.measured.value for row in document.targets if row.measured}
    assert by_name["added at 1,000 requests/s, p50"] == pytest.approx(0.5)
    assert by_name["memory of an idle stream"] == pytest.approx(20.0)
    assert by_name["its growth while held"] == pytest.approx(1.0)
    assert by_name["flag decision"] == pytest.approx(2.0)
