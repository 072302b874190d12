from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.gates import (
    CLOCK_SKEW_S,
    Estimate,
    Reading,
    Result,
    Verdict,
    counted,
    fails_limit,
    has_failed,
    judge,
    remember,
    worst,
)
from rollout.core.ramp_model import FailureRule, Gate, GateKind, GateRecord, Role

NOW = 10_000.0
BEGAN = 9_000.0
ERRORS = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="error_ratio",
    limit=0.05,
    min_samples=20,
    window="5m",
    failure=FailureRule(count=3),
)
QUALITY = Gate(
    name="quality", role=Role.SOFT, source="evidence", kind=GateKind.NONINFERIORITY, metric="score", margin=0.03
)
HEALTHY = Reading(0.01, NOW, samples=100)
PROVEN = Verdict("quality", Result.PASS, "shown", NOW, from_s=BEGAN, value=0.01, limit=0.03, samples=900)


def judged(gate: Gate, measured: Reading | Verdict | None) -> Verdict:
    return judge(gate, measured, now_s=NOW, since_s=BEGAN)


def result(gate: Gate, measured: Reading | Verdict | None) -> Result:
    return judged(gate, measured).result


@pytest.mark.parametrize(("before_s", "said"), [(0.0, "not yet"), (119.0, "not yet"), (120.0, "the"), (-1.0, "the")])
@pytest.mark.parametrize("empty", [Reading(), HEALTHY._replace(series=0)])
def test_nothing_measured_is_usual_when_a_step_has_just_begun(empty: Reading, before_s: float, said: str) -> None:
    verdict = judge(ERRORS, empty, now_s=NOW, since_s=NOW - before_s)
    assert verdict.result is Result.NO_DATA
    assert verdict.reason.startswith(said)
    assert "the answer is empty" in verdict.reason


def test_a_number_is_held_against_its_limit() -> None:
    assert judged(ERRORS, HEALTHY) == Verdict(
        gate="errors",
        result=Result.PASS,
        reason="at most 0.05 wanted",
        at_s=NOW,
        from_s=NOW - 300,
        metric="error_ratio",
        value=0.01,
        limit=0.05,
        samples=100,
    )
    assert result(ERRORS, HEALTHY._replace(value=0.05)) is Result.PASS
    assert result(ERRORS, HEALTHY._replace(value=0.0501)) is Result.FAIL
    higher = replace(ERRORS, direction="higher")
    assert result(higher, HEALTHY) is Result.FAIL
    assert judged(higher, HEALTHY._replace(value=0.05)).reason == "at least 0.05 wanted"


def test_too_few_samples_are_neither_good_nor_bad() -> None:
    few = HEALTHY._replace(samples=19)
    assert judged(ERRORS, few).reason == "19 of 20 samples"
    assert result(ERRORS, few) is result(ERRORS, few._replace(value=1.0)) is Result.INCONCLUSIVE


@pytest.mark.parametrize(
    ("measured", "expected", "reason"),
    [
        (None, Result.NO_DATA, "nothing was measured"),
        (Reading(), Result.NO_DATA, "empty"),
        (HEALTHY._replace(series=0), Result.NO_DATA, "empty"),
        (HEALTHY._replace(value=nan), Result.NO_DATA, "NaN"),
        (HEALTHY._replace(value=inf), Result.ERROR, "inf can't be compared"),
        (HEALTHY._replace(value=-inf), Result.ERROR, "inf can't be compared"),
        (HEALTHY._replace(series=2), Result.ERROR, "2 series where one"),
        (HEALTHY._replace(error="timed out after 5 s"), Result.ERROR, "timed out"),
        (HEALTHY._replace(samples=None), Result.NO_DATA, "samples is unknown"),
        (HEALTHY._replace(at_s=None), Result.ERROR, "when it was measured"),
        (HEALTHY._replace(at_s=nan), Result.ERROR, "measured at nan"),
        (HEALTHY._replace(at_s=NOW - 121), Result.NO_DATA, "121 s ago"),
        (HEALTHY._replace(at_s=NOW + CLOCK_SKEW_S + 1), Result.ERROR, "6 s in the future"),
        (PROVEN, Result.ERROR, "not a verdict"),
    ],
)
def test_invariant_07_what_is_no_fresh_single_number_never_passes(
    measured: Reading | Verdict | None, expected: Result, reason: str
) -> None:
    verdict = judged(ERRORS, measured)
    assert verdict.result is expected
    assert reason in verdict.reason
    assert verdict.value is None


@pytest.mark.parametrize("limit", [None, nan, inf])
def test_a_threshold_without_a_limit_passes_nothing(limit: float | None) -> None:
    assert result(replace(ERRORS, limit=limit), HEALTHY) is Result.ERROR


@given(
    st.builds(
        Reading,
        value=st.none() | st.floats(),
        at_s=st.none() | st.floats() | st.just(NOW),
        from_s=st.none() | st.floats(),
        samples=st.none() | st.integers(-1, 100),
        series=st.integers(0, 3),
        error=st.sampled_from(["", "", "refused"]),
    )
)
def test_invariant_07_whatever_a_source_gives_only_a_good_number_passes(reading: Reading) -> None:
    verdict = judged(ERRORS, reading)
    if verdict.result is Result.PASS:
        assert reading.value is not None
        assert reading.at_s is not None
        assert reading.value <= 0.05
        assert NOW - 120 <= reading.at_s <= NOW + CLOCK_SKEW_S
        assert reading.series == 1
        assert (reading.samples or 0) >= 20
        assert verdict.from_s is not None
        assert BEGAN <= verdict.from_s <= reading.at_s


@pytest.mark.parametrize("from_s", [BEGAN - 1, NOW + 1, nan, -inf])
def test_invariant_06_a_pass_measured_from_before_the_step_is_none(from_s: float) -> None:
    verdict = judged(ERRORS, HEALTHY._replace(from_s=from_s))
    assert verdict.result is Result.INCONCLUSIVE
    assert "before this step began" in verdict.reason
    assert result(ERRORS, HEALTHY._replace(from_s=from_s, value=1.0)) is Result.FAIL


def test_the_window_tells_since_when_if_the_source_does_not() -> None:
    late = judge(ERRORS, HEALTHY, now_s=NOW, since_s=NOW - 299)
    assert late.result is Result.INCONCLUSIVE
    assert judge(ERRORS, HEALTHY, now_s=NOW, since_s=NOW - 300).result is Result.PASS


def test_evidence_brings_its_verdict() -> None:
    assert judged(QUALITY, PROVEN) is PROVEN
    open_ = replace(PROVEN, result=Result.INCONCLUSIVE, value=None)
    assert judged(QUALITY, open_) is open_


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (replace(PROVEN, from_s=None), Result.INCONCLUSIVE),
        (replace(PROVEN, from_s=BEGAN - 1), Result.INCONCLUSIVE),
        (replace(PROVEN, gate="quantity"), Result.ERROR),
        (replace(PROVEN, value=nan), Result.ERROR),
        (replace(PROVEN, value=None), Result.ERROR),
        (replace(PROVEN, result=Result.FAIL, value=inf), Result.ERROR),
        (replace(PROVEN, at_s=NOW - 121), Result.NO_DATA),
        (replace(PROVEN, result=Result.FAIL, at_s=NOW + 60), Result.ERROR),
        (replace(PROVEN, result=Result.NO_DATA, at_s=nan, value=nan), Result.NO_DATA),
        (replace(PROVEN, result=Result.ERROR, value=None), Result.ERROR),
    ],
)
def test_a_verdict_that_cannot_be_believed(verdict: Verdict, expected: Result) -> None:
    assert result(QUALITY, verdict) is expected


def test_evidence_does_not_take_a_bare_number() -> None:
    assert judged(QUALITY, HEALTHY).reason == "noninferiority needs the evidence's verdict, not a number"
    assert judged(QUALITY, HEALTHY).limit is None  # its margin is no limit of anything that is shown


def test_a_threshold_of_evidence_brings_its_verdict_too() -> None:
    floor = replace(QUALITY, kind=GateKind.THRESHOLD, margin=None, limit=0.1)
    assert judged(floor, PROVEN) is PROVEN
    assert judged(floor, HEALTHY).reason == "threshold needs the evidence's verdict, not a number"
    assert judged(floor, HEALTHY).limit is None


def test_the_worst_wins() -> None:
    verdicts = [replace(PROVEN, result=each) for each in Result]
    assert [worst(verdicts[:end]) for end in range(1, 6)] == list(Result)
    assert worst(reversed(verdicts)) is Result.FAIL
    assert worst([]) is Result.PASS


def sequence(gate: Gate, *results: tuple[float, Result], absent_max_s: float = 600.0) -> tuple[bool, GateRecord | None]:
    """Whether the last of these verdicts, each at its time, makes the gate fail; and what is remembered."""
    record: GateRecord | None = None
    failed = False
    for at_s, each in results:
        verdict = Verdict(gate.name, each, "", at_s)
        record = remember(gate, record, verdict, now_s=at_s, absent_max_s=absent_max_s)
        failed = has_failed(gate, record, verdict)
    return failed, record


FAIL, PASS, NO_DATA, ERROR, UNSURE = Result.FAIL, Result.PASS, Result.NO_DATA, Result.ERROR, Result.INCONCLUSIVE


def test_fails_in_a_row_count() -> None:
    assert sequence(ERRORS, (1, FAIL), (2, FAIL)) == (False, GateRecord(2, (2,), 2))
    assert sequence(ERRORS, (1, FAIL), (2, FAIL), (3, FAIL))[0]
    assert not sequence(ERRORS, (1, FAIL), (2, FAIL), (3, PASS), (4, FAIL))[0]
    assert not sequence(ERRORS, (1, FAIL), (2, FAIL), (3, UNSURE), (4, FAIL))[0]


def test_without_a_rule_the_first_fail_counts() -> None:
    assert sequence(QUALITY, (1, FAIL))[0]
    assert (fails_limit(QUALITY), fails_limit(ERRORS)) == (1, 3)


def test_one_measurement_counts_once_however_often_it_is_seen() -> None:
    assert sequence(ERRORS, (1, FAIL), (1, FAIL), (1, FAIL), (1, FAIL)) == sequence(ERRORS, (1, FAIL))


def test_absence_neither_adds_to_a_row_nor_ends_it() -> None:
    assert sequence(ERRORS, (1, FAIL), (2, FAIL), (3, NO_DATA), (4, ERROR), (5, FAIL))[0]
    assert not sequence(ERRORS, (1, NO_DATA), (2, ERROR), (3, NO_DATA), (4, ERROR))[0]
    assert sequence(ERRORS, (1, NO_DATA)) == (False, None)


def test_a_row_is_forgotten_after_long_absence() -> None:
    assert not sequence(ERRORS, (1, FAIL), (2, FAIL), (700, NO_DATA), (701, FAIL))[0]


WINDOWED = replace(ERRORS, failure=FailureRule(count=3, within="10m"))


def test_fails_within_a_time_count_whatever_lies_between() -> None:
    assert sequence(WINDOWED, (1, FAIL), (2, PASS), (300, FAIL), (301, PASS), (601, FAIL))[0]
    assert not sequence(WINDOWED, (1, FAIL), (300, FAIL), (602, FAIL))[0]
    record = sequence(WINDOWED, (1, FAIL), (2, FAIL), (3, PASS))[1]
    assert counted(WINDOWED, record) == 2
    assert counted(WINDOWED, None) == counted(ERRORS, None) == 0


@given(st.lists(st.tuples(st.sampled_from([FAIL, PASS, UNSURE, NO_DATA, ERROR])), min_size=1, max_size=60))
def test_invariant_09_flakes_over_a_week_do_not_add_up(flakes: list[tuple[Result]]) -> None:
    spread = [(position * 7_200.0, each) for position, (each,) in enumerate(flakes)]
    for gate in (WINDOWED, ERRORS):
        failed, record = sequence(gate, *spread)
        row = [each for _, each in spread[-3:]] == [FAIL] * 3
        assert failed == (row and gate is ERRORS)
        assert record is None or len(record.fails_s) <= 3


def test_evidence_without_data_shows_what_it_waits_for_and_not_its_margin_as_a_limit() -> None:
    waits = Verdict(
        "quality", Result.NO_DATA, "0 of 1 units", NOW, limit=32.9, samples=0, estimate=Estimate(margin=0.03)
    )
    assert judged(QUALITY, waits) == replace(waits, metric="score")
    assert judged(QUALITY, replace(waits, limit=inf, value=7.0)) == replace(waits, metric="score", limit=None)
    assert judged(QUALITY, None).limit is None
    assert judged(QUALITY, Verdict("quality", Result.ERROR, "not of this plan", NOW)).limit is None
    assert judged(ERRORS, None).limit == 0.05
