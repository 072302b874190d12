from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.unit_outcomes import ABSENT, BEYOND, UNRATED, Span, form_of, outcomes_of, span_of, thumbs_of
from gateway.core.units import End, Unit
from rollout.core.evidence.ledger import MetricPlan
from rollout.core.evidence.plans import Series

AGE_S = 30.0
PLAN = MetricPlan((0.0,), (0.0,))
UNIT = Unit(100.0, 7, "draft", 1, True, AGE_S, "r", 1.0, End.ANSWERED, 4.0, 1.0, 0.1, stream=True)
NEVER = Span(inf, inf)


def series(metric: str, margin: float = 0.0, limit_s: float = 0.0) -> Series:
    return Series(metric, PLAN, metric, margin, limit_s)


def outcome(unit: Unit, metric: str, yardstick_s: float | None = 2.0, margin: float = 0.25, limit_s: float = 0.0):
    yardsticks_s = {} if yardstick_s is None else {metric: yardstick_s}
    (found,) = outcomes_of(unit, (series(metric, margin, limit_s),), yardsticks_s, 1.0)
    return found


@pytest.mark.parametrize(
    ("change", "ttft", "gap", "total"),
    [
        ({}, Span(1.0, 1.0), Span(0.1, 0.1), Span(4.0, 4.0)),
        ({"ttft_s": None, "gap_s": None, "stream": False}, Span(4.0, 4.0), None, Span(4.0, 4.0)),
        ({"gap_s": None}, Span(1.0, 1.0), None, Span(4.0, 4.0)),
        ({"success": 0.0}, Span(1.0, 1.0), Span(0.1, 0.1), Span(4.0, 4.0)),  # of a fallback
        ({"end": End.FAILED}, NEVER, NEVER, NEVER),
        ({"end": End.OUTSIDE}, None, None, None),
        *(({"end": end}, Span(1.0, 1.0), None, Span(4.0, inf)) for end in (End.LEFT, End.OPEN)),
        *(({"end": end, "ttft_s": None}, Span(4.0, inf), None, Span(4.0, inf)) for end in (End.LEFT, End.OPEN)),
    ],
)
def test_what_is_known_of_a_latency(change: dict, ttft: Span | None, gap: Span | None, total: Span | None) -> None:
    unit = UNIT._replace(**change)
    assert [span_of(unit, part) for part in ("ttft", "itl", "total")] == [ttft, gap, total]


@pytest.mark.parametrize(
    ("total_s", "candidate", "found"), [(2.0, False, 1), (2.1, False, 0), (2.5, True, 1), (2.6, True, 0)]
)
def test_the_margin_is_the_candidates(total_s: float, candidate: bool, found: float) -> None:  # noqa: FBT001  a case
    assert outcome(UNIT._replace(total_s=total_s, candidate=candidate), "total_p95") == found


@pytest.mark.parametrize(("left_s", "found"), [(1.0, None), (2.5, None), (2.6, 0.0)])
def test_who_leaves_has_shown_how_long_it_took_at_least(left_s: float, found: float | None) -> None:
    assert outcome(UNIT._replace(end=End.LEFT, total_s=left_s, ttft_s=None), "ttft_p50") == found
    assert outcome(UNIT._replace(end=End.LEFT, total_s=left_s, ttft_s=0.5), "ttft_p50") == 1.0
    assert outcome(UNIT._replace(end=End.LEFT, total_s=left_s), "total_p50") == found


def test_what_is_under_way_at_its_age_is_beyond_every_bound_that_is_measured() -> None:
    slow = UNIT._replace(end=End.OPEN, total_s=AGE_S, ttft_s=None)
    for yardstick_s in (1.0, AGE_S / 1.25 - 0.01):
        assert [outcome(slow, metric, yardstick_s) for metric in ("ttft_p99", "total_p99")] == [0.0, 0.0]
    assert outcome(slow, "itl_p50") is None


@pytest.mark.parametrize("candidate", [True, False])
def test_a_bound_beyond_the_age_is_not_measured_in_either_arm(candidate: bool) -> None:  # noqa: FBT001  a case
    unit = UNIT._replace(candidate=candidate)
    assert outcome(unit, "total_p95", 24.0) == 1.0
    assert outcome(unit, "total_p95", 24.1) == BEYOND
    assert outcome(unit, "total_p95", None, 0.0, limit_s=30.0) == 1.0
    assert outcome(unit, "total_p95", None, 0.0, limit_s=30.1) == BEYOND


def test_a_floor_needs_no_yardstick() -> None:
    found = [
        outcome(UNIT._replace(candidate=arm), "total_p95", None, 0.0, limit_s=3.9 + step)
        for arm in (True, False)
        for step in (0.0, 0.1)
    ]
    assert found == [0.0, 1.0, 0.0, 1.0]


def test_a_unit_is_absent_for_what_was_known_before_its_draw() -> None:
    assert outcome(UNIT, "total_p95", None) == ABSENT
    assert outcome(UNIT._replace(stream=False, gap_s=None), "itl_p50") == ABSENT
    assert outcome(UNIT._replace(gap_s=None), "itl_p50") is None
    assert outcome(UNIT, "thumbs") == ABSENT


def test_errors_and_form_are_passed_on() -> None:
    both = (series("errors"), series("form"))
    assert outcomes_of(UNIT._replace(success=None), both, {}, 0.0) == (None, 0.0)
    assert form_of(sampled=False, flawed=True) == ABSENT
    assert form_of(sampled=True, flawed=None) is None
    assert [form_of(sampled=True, flawed=flawed) for flawed in (True, False)] == [0.0, 1.0]


def test_thumbs_are_the_mean_of_what_was_said() -> None:
    assert thumbs_of([]) == UNRATED
    assert thumbs_of([1.0, 0.0, 0.5, 1.0]) == 0.625


UNITS = st.builds(
    UNIT._replace,
    end=st.sampled_from(End),
    total_s=st.floats(0, 40),
    ttft_s=st.none() | st.floats(0, 40),
    gap_s=st.none() | st.floats(0, 2),
    candidate=st.booleans(),
)
METRICS = st.sampled_from(["ttft_p50", "itl_p95", "total_p99"])


@given(UNITS, METRICS, st.floats(0.001, 100), st.floats(0, 2))
def test_whether_there_is_an_outcome_to_be_had_is_no_matter_of_arm_or_answer(unit, metric, yardstick_s, margin) -> None:
    found = {
        outcome(each, metric, yardstick_s, margin) in (ABSENT, BEYOND)
        for each in (unit, unit._replace(candidate=not unit.candidate), UNIT)
    }
    assert len(found) == 1


@given(UNITS, METRICS, st.floats(0.001, 10), st.floats(0.001, 40))
def test_waiting_longer_never_makes_it_better(unit, metric, yardstick_s, more_s) -> None:
    rank = {0.0: 0, None: 1, 1.0: 2}
    longer = unit._replace(total_s=unit.total_s + more_s)
    assert rank[outcome(longer, metric, yardstick_s)] <= rank[outcome(unit, metric, yardstick_s)]
