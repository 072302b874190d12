import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.coverage import ArmCoverage, Coverage
from rollout.core.evidence.coverage import (
    LEFT_OUT_RATIO_MAX,
    RATED_MIN,
    REQUESTS,
    SHADOW_CALLS,
    UNITS,
    Counts,
    ShadowCalls,
    counts_of,
    coverage_keys,
    coverage_of,
    covered,
    doubt_of,
    left,
    looks_of,
    lost,
    rated,
    shadow_coverage,
    shadow_key,
)
from rollout.core.evidence.plans import series_of
from rollout.core.gates import Result, Verdict
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import SumKey, merge

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY)
FLOOR = replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1)
WIDER = replace(PROOF, name="wider", metric="ttft_p95", margin=0.3)
SLOW = replace(FLOOR, name="slow", metric="ttft_p95", limit=2.0)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    gates=(HARM, PROOF, WIDER, replace(WIDER, name="narrow", margin=0.1), SLOW),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=1_000.0, step_began_s=2_000.0),
)
EARLIER = replace(FLAG, progress=replace(FLAG.progress, step_began_s=1_000.0))
SERIES = series_of(FLAG)
FORM = next(each.prefix for each in SERIES if each.metric == "form")


def of(candidate: ArmCoverage, baseline: ArmCoverage = ArmCoverage(100), what: str = UNITS) -> Coverage:  # noqa: B008  frozen
    return Coverage(what, candidate, baseline, LEFT_OUT_RATIO_MAX)


def verdict(result: Result) -> Verdict:
    return Verdict("g", result, "as it is", 3_000.0)


def test_series_that_differ_in_their_margin_alone_have_one_look() -> None:
    looks = looks_of(SERIES)
    margins = [each.prefix for each in SERIES if each.metric == "ttft_p95" and not each.limit_s]
    assert len(margins) == 2
    assert len({looks[prefix] for prefix in margins}) == 1
    assert len({*looks.values()}) == 3
    assert looks[FORM] == FORM
    one_margin = [each for each in SERIES if each.prefix != margins[1]]
    assert looks_of(one_margin)[margins[0]] == margins[0] != looks[margins[0]]  # another plan, counted apart


def test_what_is_counted_is_read_back_in_the_scope_of_the_gate() -> None:
    now, before = (coverage_keys(flag, SERIES, UNITS)[FORM] for flag in (FLAG, EARLIER))
    sums = {
        now: [*left(2, candidate=True)],
        before: [*lost(3, candidate=False)],
        coverage_keys(FLAG, SERIES, REQUESTS)[FORM]: [*rated(7, candidate=True)],
        now._replace(epoch=2): [9] * 6,
        SumKey("other", 1, now.name): [9] * 6,
    }
    assert counts_of(PROOF, FLAG, sums, UNITS, FORM) == Counts(left_candidates=2)
    ramp = replace(PROOF, scope="ramp")
    assert counts_of(ramp, FLAG, sums, UNITS, FORM) == Counts(left_candidates=2, lost_baselines=3)
    assert counts_of(ramp, FLAG, sums, REQUESTS, FORM) == Counts(rated_candidates=7)
    assert counts_of(PROOF, EARLIER, {}, UNITS, FORM) == Counts()


def test_each_count_has_its_place() -> None:
    made = [make(1, candidate=arm) for make in (left, lost, rated) for arm in (True, False)]
    assert made == [tuple(int(place == index) for place in range(6)) for index in range(6)]


@given(st.lists(st.builds(left, st.integers(0, 99), candidate=st.booleans())), st.randoms(use_true_random=False))
def test_any_order_of_adding_gives_the_same(rows: list[Counts], random) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    sums: list[list[int]] = [[], []]
    for index, order in enumerate((rows, shuffled)):
        for row in order:
            sums[index] = merge(sums[index], row)
    assert sums[0] == sums[1]


def test_the_left_out_are_not_judged_and_the_lost_come_on_top() -> None:
    found = coverage_of(PROOF, UNITS, 100, 50, Counts(4, 0, 6, 2, 9, 9))
    assert (found.candidate, found.baseline) == (ArmCoverage(96, 10), ArmCoverage(50, 2))
    thumbs = coverage_of(replace(PROOF, metric="thumbs"), UNITS, 100, 50, Counts(0, 0, 0, 0, 9, 8))
    assert (thumbs.candidate.rated, thumbs.baseline.rated) == (9, 8)


def test_shadow_calls_that_fail_are_left_out() -> None:
    calls = {shadow_key("draft", FLAG.progress): [*ShadowCalls(90, 10, 5, 0)]}
    found = shadow_coverage(PROOF, FLAG, calls)
    assert (found.of, found.candidate, found.baseline) == (SHADOW_CALLS, ArmCoverage(90, 10), ArmCoverage(5))
    assert doubt_of(PROOF, found) == "10 of 100 shadow calls of the candidate failed, 10.0%, at most 5%"
    assert shadow_coverage(PROOF, EARLIER, calls).candidate.all == 0


@pytest.mark.parametrize("result", [Result.PASS, Result.INCONCLUSIVE])
def test_more_than_a_twentieth_left_out_is_no_answer_for_what_raises_the_share(result: Result) -> None:
    said = "6 of 100 units of the candidate were left out, 6.0%, at most 5%; as it is"
    for gate in (PROOF, FLOOR):
        found = covered(verdict(result), gate, of(ArmCoverage(94, 6)))
        assert (found.result, found.reason) == (Result.INCONCLUSIVE, said)
        assert covered(verdict(result), gate, of(ArmCoverage(95, 5))).result is result


def test_a_floor_does_not_ask_about_the_baseline() -> None:
    lossy = of(ArmCoverage(100), ArmCoverage(50, 50))
    assert covered(verdict(Result.PASS), FLOOR, lossy).result is Result.PASS
    assert covered(verdict(Result.PASS), PROOF, lossy).result is Result.INCONCLUSIVE


def test_what_stops_a_ramp_acts_on_what_was_seen() -> None:
    lossy = of(ArmCoverage(10, 90))
    assert covered(verdict(Result.PASS), HARM, lossy) == replace(verdict(Result.PASS), coverage=lossy)
    for gate in (HARM, FLOOR, PROOF):
        for result in (Result.FAIL, Result.ERROR):
            assert covered(verdict(result), gate, lossy) == replace(verdict(result), coverage=lossy)


def test_where_all_were_left_out_silence_says_why() -> None:
    for gate in (HARM, FLOOR, PROOF):
        found = covered(verdict(Result.NO_DATA), gate, of(ArmCoverage(0, 20)))
        assert (found.result, found.reason[:18]) == (Result.NO_DATA, "20 of 20 units of ")


@pytest.mark.parametrize(
    ("candidate", "baseline", "doubt"),
    [
        (RATED_MIN, RATED_MIN, ""),
        (RATED_MIN - 1, RATED_MIN, "29 of 30 rated units of the candidate"),
        (RATED_MIN, 0, "0 of 30 rated units of the baseline"),
    ],
)
def test_a_few_ratings_prove_nothing(candidate: int, baseline: int, doubt: str) -> None:
    found = of(ArmCoverage(1_000, rated=candidate), ArmCoverage(1_000, rated=baseline))
    assert doubt_of(PROOF, found) == doubt
    assert doubt_of(PROOF, of(ArmCoverage(rated=0), ArmCoverage(rated=0))) == ""


def test_how_many_have_rated_is_told_and_called_weak_where_it_is() -> None:
    weak = covered(verdict(Result.PASS), HARM, of(ArmCoverage(1_000, rated=1), ArmCoverage(100, rated=2)))
    assert weak.reason == "as it is; rated: 0.1% of the candidate's, 2.0% of the baseline's (weak)"
    enough = covered(verdict(Result.PASS), PROOF, of(ArmCoverage(100, rated=40), ArmCoverage(100, rated=40)))
    assert (enough.result, enough.reason) == (
        Result.PASS,
        "as it is; rated: 40.0% of the candidate's, 40.0% of the baseline's",
    )
    nobody = of(ArmCoverage(10, rated=0), ArmCoverage(rated=0))
    assert covered(verdict(Result.PASS), HARM, nobody).reason == "as it is"
