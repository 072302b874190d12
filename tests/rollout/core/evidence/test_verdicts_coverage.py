"""Verdicts of gates that have not seen all of it: who was left out, and who has rated."""

import pytest
from msgspec.structs import replace

from rollout.core.coverage import ArmCoverage
from rollout.core.evidence.coverage import RATED_MIN, UNITS, Counts, coverage_keys
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.levels import limit_of
from rollout.core.evidence.plans import epoch_of, key_of, series_of, vector_of
from rollout.core.evidence.verdicts import verdict_of
from rollout.core.gates import Result, Verdict
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Gate, Progress
from rollout.core.sums import SumKey
from tests.rollout.core.evidence.test_verdicts import FLAG, FLOOR, HARM, NOW_S, PROOF, Rows, asking, rows

Sums = dict[SumKey, list[int]]
ALL = asking(HARM, PROOF, FLOOR)


@pytest.fixture
def sums(units):
    def add_up(part: tuple[Progress, float, Rows], flag: FeatureFlag = FLAG) -> Sums:
        progress, entered_s, made = part
        (series,) = series_of(flag)
        key = key_of("draft", progress, series.prefix, epoch_of(progress, entered_s))
        return {key: vector_of(gathered(series.plan, units(made)))}

    return add_up


def beside(given: Sums, flag: FeatureFlag, *counts: int) -> Sums:
    """With what was counted beside the one series of the flag."""
    (key,) = coverage_keys(flag, series_of(flag), UNITS).values()
    return given | {key: [*Counts(*counts)]}


def said(gate: Gate, given: Sums, flag: FeatureFlag = ALL) -> Verdict:
    return verdict_of(gate, flag, given, NOW_S)


def test_a_proof_that_has_not_seen_all_of_an_arm_is_none(sums) -> None:
    given = sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30)), flag=ALL)
    for few in ((150, 150), (0, 0, 157, 157)):
        assert said(PROOF, beside(given, ALL, *few)).result is Result.PASS
    for many in ((151,), (0, 151), (0, 0, 158), (0, 0, 0, 158), (76, 0, 80)):
        found = said(PROOF, beside(given, ALL, *many))
        assert found.result is Result.INCONCLUSIVE
        assert "were left out, 5." in found.reason
        assert "at most 5%; effect +0.0" in found.reason
        assert found.value == said(PROOF, given).value


def test_a_floor_may_not_pass_either_but_harm_acts_on_what_it_sees(sums) -> None:
    given = beside(sums((FLAG.progress, 2_100.0, rows(3_000, 30, 30)), flag=ALL), ALL, 1_000)
    assert [said(gate, given).result for gate in (FLOOR, HARM)] == [Result.INCONCLUSIVE, Result.PASS]
    bad = beside(sums((FLAG.progress, 2_100.0, rows(3_000, 900, 30)), flag=ALL), ALL, 1_000)
    assert [said(gate, bad).result for gate in (FLOOR, HARM)] == [Result.FAIL, Result.FAIL]


def test_samples_are_the_judged(sums) -> None:
    given = beside(sums((FLAG.progress, 2_100.0, rows(300))), FLAG, 10, 5, 7, 7)
    for gate, samples in ((PROOF, 585), (HARM, 585)):
        found = said(gate, given, FLAG)
        assert found.samples == samples
        assert found.coverage is not None
        assert (found.coverage.candidate, found.coverage.baseline) == (ArmCoverage(290, 17), ArmCoverage(295, 12))
    given = beside(sums((FLAG.progress, 2_100.0, rows(300)), flag=ALL), ALL, 10)
    assert said(FLOOR, given).samples == 290
    short = said(replace(FLOOR, min_samples=291), given)
    assert (short.result, short.reason[:19]) == (Result.INCONCLUSIVE, "290 of 291 units; a")


@pytest.mark.parametrize("gate", [PROOF, HARM, FLOOR])
def test_where_nothing_was_judged_nothing_passes(sums, gate: Gate) -> None:
    """Of gaps between tokens, say, where an upstream does not say how many tokens there were."""
    left_out = [(50_000, candidate, 0.99, 0.99) for candidate in (True, False) for _ in range(9_000)]
    found = said(gate, beside(sums((FLAG.progress, 2_100.0, left_out), flag=ALL), ALL, 9_000, 9_000))
    assert found.result is Result.NO_DATA
    assert found.reason.startswith(
        "9000 of 9000 units of the candidate were left out, 100.0%, at most 5%; 0 of 1 units"
    )


def test_a_few_ratings_among_many_units_prove_nothing(sums) -> None:
    rated = replace(PROOF, metric="thumbs")
    flag = asking(rated)
    unrated = [(50_000, number % 2 == 0, 0.5, 0.5) for number in range(2_000)]
    given = sums((FLAG.progress, 2_500.0, [*unrated, (50_000, True, 1.0, 0.5), (50_000, False, 1.0, 0.5)]), flag=flag)
    few = said(rated, beside(given, flag, 0, 0, 0, 0, 1, RATED_MIN), flag)
    assert few.value is not None
    assert few.value > limit_of(rated, flag)
    assert (few.result, few.reason[:38]) == (Result.INCONCLUSIVE, "1 of 30 rated units of the candidate; ")
    assert few.reason.endswith("rated: 0.1% of the candidate's, 3.0% of the baseline's (weak)")
    enough = said(rated, beside(given, flag, 0, 0, 0, 0, RATED_MIN, RATED_MIN), flag)
    assert enough.result is Result.PASS
    assert enough.coverage is not None
    assert enough.coverage.candidate == ArmCoverage(1_001, 0, RATED_MIN)
