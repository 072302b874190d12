"""Folded or not: the same verdicts, bit for bit, whatever is lost, repeated or late on the way."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.evidence.carrying import EPOCHS_AT_ONCE
from rollout.core.evidence.folding import folds_of, gathered_of
from rollout.core.evidence.ledger import gathered, nothing
from rollout.core.evidence.plans import EPOCH_S, errors_key, key_of, series_of, vector_of
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import EarlyMargin, Gate, GateKind, Phase, Progress, Role
from rollout.core.sums import Replacement, SumKey, merge

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.05, alpha=0.05)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY, early=(EarlyMargin(10_000, 0.1),))
GATES = (
    HARM,
    PROOF,
    replace(PROOF, name="fine of the ramp", scope="ramp"),
    replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.1),
    replace(HARM, name="errors", metric="errors"),
    replace(PROOF, name="fast", metric="ttft_p95"),
    replace(HARM, name="rated", metric="thumbs"),
)
STEPS = [
    FeatureFlag(
        feature="draft",
        candidate="a",
        baseline="b",
        share_millipct=share,
        gates=GATES,
        progress=Progress(phase=Phase.RUNNING, attempt=1, step=step, ramp_began_s=1_000.0, step_began_s=began_s),
    )
    for step, (share, began_s) in enumerate(((5_000, 1_000.0), (20_000, 2_500.0), (50_000, 6_000.0)))
]
Sums = dict[SumKey, tuple[int, ...]]
AGE_S = 3_600.0


def after_s(epoch: int) -> float:
    return 1_000.0 + (epoch + 1) * EPOCH_S + AGE_S + 600.0


@pytest.fixture(scope="module")
def unit_sums(units) -> Callable[[int, int, int, int], Sums]:
    def of(step: int, epoch: int, good: int, bad: int) -> Sums:
        """What units of both arms add; of the candidate `bad` more are bad."""
        flag = STEPS[step]
        share = flag.share_millipct
        made = [(share, True, 1.0, 0.9)] * good + [(share, True, 0.0, 0.9)] * bad + [(share, False, 1.0, 0.9)] * good
        sums = {
            key_of("draft", flag.progress, series.prefix, epoch): tuple(vector_of(gathered(series.plan, units(made))))
            for series in series_of(flag)
        }
        return sums | {errors_key(flag, epoch): (bad, 0, good + bad, good)}

    return of


def added(sums: Sums, more: Sums) -> Sums:
    return sums | {key: tuple(merge(sums.get(key, ()), vector)) for key, vector in more.items()}


ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 6), st.integers(0, 3)), max_size=8)


@given(ROWS, ROWS, st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=6), st.integers(0, 2))
@settings(deadline=None, max_examples=60)
def test_verdicts_are_the_same_whatever_is_folded_when(unit_sums, replace_sums, rows, late, looks, step) -> None:
    """`looks`: at the end of which epoch is folded, and whether the answer is lost, so that it is asked for twice."""
    kept: Sums = {}
    for row in rows:
        kept = added(kept, unit_sums(*row))
    folded = dict(kept)
    for epoch, twice in looks:
        for flag in STEPS if twice else STEPS[: step + 1]:
            asked = list(folds_of(flag, folded, after_s(epoch)))
            assert all(replace_sums(folded, each) for each in asked)
            assert not any(replace_sums(folded, each) for each in asked)
    for each_step, epoch, good, bad in late:
        last = max((ended for ended, _ in looks), default=-1)
        if epoch > last + AGE_S / EPOCH_S:  # what is looked at sooner is folded sooner
            kept, folded = (added(sums, unit_sums(each_step, epoch, good, bad)) for sums in (kept, folded))
    flag = STEPS[2]  # what is folded of a step is that of the latest
    assert verdicts_of(flag, folded, 1e6) == verdicts_of(flag, kept, 1e6)


def test_what_is_over_takes_the_place_of_one_epoch_at_most(unit_sums, replace_sums) -> None:
    sums: Sums = {}
    for epoch in range(40):
        sums = added(sums, unit_sums(epoch // 15, epoch, 3, epoch % 2))
    before, values = verdicts_of(STEPS[2], sums, 1e6), sum(map(len, sums.values()))
    rounds = 0
    while asked := list(folds_of(STEPS[2], sums, 1e6)):
        assert all(replace_sums(sums, each) for each in asked)
        rounds += 1
    assert rounds == -(-40 // EPOCHS_AT_ONCE)
    assert all(key.name.startswith("folded.") for key in sums)
    assert sum(map(len, sums.values())) < values / 8
    assert verdicts_of(STEPS[2], sums, 1e6) == before


def test_a_step_that_is_over_is_forgotten_and_the_ramp_is_not(unit_sums, replace_sums) -> None:
    sums = added(unit_sums(0, 0, 5, 1), unit_sums(1, 3, 7, 0))
    first = next(each for each in series_of(STEPS[1]) if each.metric == "form")
    units_of = [gathered_of(flag, first, sums) for flag in STEPS]
    assert [each.step.moments.units for each in units_of] == [11, 14, 0]
    for each in folds_of(STEPS[0], sums, 1e6):
        assert replace_sums(sums, each)
    folded = [gathered_of(flag, first, sums) for flag in STEPS]
    assert [each.step.moments.units for each in folded] == [0, 14, 0]
    assert {each.ramp for each in folded} == {each.ramp for each in units_of}
    assert [each.by_epoch for each in folded] == [{}] * 3


def test_what_comes_after_its_epoch_was_folded_counts_for_the_last_one_that_is(unit_sums, replace_sums) -> None:
    """As from a worker whose clock is late: with what it would have added to that epoch, up to rounding."""

    def said(sums: Sums) -> dict[str, tuple[object, ...]]:
        found = verdicts_of(STEPS[0], sums, 1e6)
        numbers = {name: pytest.approx(each.value) for name, each in found.items()}
        return {name: (each.result, each.samples, each.coverage, numbers[name]) for name, each in found.items()}

    kept = added(unit_sums(0, 0, 5, 1), unit_sums(0, 1, 5, 1))
    sums = dict(kept)
    assert all(replace_sums(sums, each) for each in folds_of(STEPS[0], kept, after_s(1)))
    late = added(sums, unit_sums(0, 0, 9, 9))
    assert said(late) == said(added(kept, unit_sums(0, 1, 9, 9))) != said(sums)
    swept = dict(late)
    assert all(replace_sums(swept, each) for each in folds_of(STEPS[0], late, after_s(1)))
    assert swept.keys() == sums.keys()
    assert said(swept) == said(late)
    assert not list(folds_of(STEPS[0], swept, after_s(1)))


def test_what_is_late_counts_in_its_step(unit_sums, replace_sums) -> None:
    series = next(each for each in series_of(STEPS[0]) if each.metric == "form")
    sums = unit_sums(1, 20, 5, 1)
    assert all(replace_sums(sums, each) for each in folds_of(STEPS[1], sums, after_s(20)))
    for step, in_step, in_ramp in ((0, 11, 11 + 5), (1, 11 + 5, 11 + 10), (2, 5, 11 + 15)):
        sums = added(sums, unit_sums(step, 19, 2, 1))
        late = gathered_of(STEPS[max(step, 1)], series, sums)
        assert all(replace_sums(sums, each) for each in folds_of(STEPS[1], sums, after_s(20)))
        folded = gathered_of(STEPS[max(step, 1)], series, sums)
        assert folded == late
        assert (folded.step.moments.units, folded.ramp.moments.units) == (in_step, in_ramp)


def test_an_addition_between_read_and_fold_keeps_it_from_being_folded(unit_sums, replace_sums) -> None:
    sums = unit_sums(0, 1, 5, 1)
    asked: list[Replacement] = list(folds_of(STEPS[0], sums, after_s(1)))
    grown = added(sums, unit_sums(0, 1, 1, 0))
    assert not any(replace_sums(grown, each) for each in asked)
    assert grown == added(sums, unit_sums(0, 1, 1, 0))


def test_nothing_is_folded_before_its_time_nor_without_an_attempt(unit_sums) -> None:
    sums = unit_sums(0, 1, 5, 1)
    of_form = next(each for each in series_of(STEPS[0]) if each.metric == "form")
    early = list(folds_of(STEPS[0], sums, after_s(1) - AGE_S + 29.0))
    assert early == []
    assert all("thumbs" not in name for each in folds_of(STEPS[0], sums, after_s(1) - 1.0) for name in each.found)
    flag = replace(STEPS[0], progress=replace(STEPS[0].progress, attempt=0))
    assert list(folds_of(flag, sums, 1e6)) == []
    assert gathered_of(flag, of_form, sums).ramp == nothing(of_form.plan)


def test_sums_that_cannot_be_read_stay_where_they_are(unit_sums) -> None:
    sums = {key: vector[:-1] for key, vector in unit_sums(0, 1, 5, 1).items()}
    assert list(folds_of(STEPS[0], sums, 1e6)) == []


@pytest.mark.parametrize("head", [(1,), (1, 2, 3)])
def test_a_series_that_can_not_be_read_keeps_no_other_from_being_folded(unit_sums, head) -> None:
    sums, told = unit_sums(0, 0, 5, 1), []
    prefix = next(each.prefix for each in series_of(STEPS[0]) if each.metric == "form")
    sums[SumKey("draft", 1, f"folded.{prefix}")] = head
    whole = [name for each in folds_of(STEPS[0], sums, after_s(1), told.append) for name in each.found]
    assert told == [f"the store's sum 'folded.{prefix}' can't be read"]
    assert any(name.startswith("errors.") for name in whole)
    assert any(name.startswith("thumbs.") for name in whole)
    assert not any(name.startswith("form.") for name in whole)


def test_gates_that_ask_for_more_than_a_vector_holds_have_nothing_to_fold(unit_sums) -> None:
    many = tuple(replace(HARM, name=f"g{number}", margin=0.01 * number) for number in range(1, 30))
    told: list[str] = []
    assert list(folds_of(replace(STEPS[0], gates=many), unit_sums(0, 0, 5, 1), 1e6, told.append)) == []
    assert told == []
