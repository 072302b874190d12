"""Whatever is in the store under a feature: a look goes on, and the gates that can't use it say so."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import pairs
from rollout.core.evidence.arms import sample_ratio_of, units_key
from rollout.core.evidence.cluster_parts import parts_of
from rollout.core.evidence.coverage import REQUESTS, UNITS, coverage_keys, shadow_key
from rollout.core.evidence.folding import folds_of
from rollout.core.evidence.ledger import nothing
from rollout.core.evidence.plans import errors_key, key_of, series_of, vector_of
from rollout.core.evidence.stored_rows import counts_in, numbers_in, told, unreadable
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.gates import Result
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.core.request_sums import requests_key, samples_of
from rollout.core.sums import SumKey

HARM = Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.05)
PROOF = replace(HARM, name="fine", kind=GateKind.NONINFERIORITY)
GATES = (
    HARM,
    PROOF,
    replace(HARM, name="floor", kind=GateKind.THRESHOLD, margin=None, limit=0.9, direction="higher"),
    replace(HARM, name="form", metric="form"),
    replace(PROOF, name="fast", metric="ttft_p95", scope="ramp"),
    replace(PROOF, name="rated", metric="thumbs"),
    replace(PROOF, name="judged", metric="judge"),
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="a",
    baseline="b",
    share_millipct=50_000,
    ramp=RampPlan(steps=(Step(share=50_000),)),
    gates=GATES,
    evidence=Evidence(age="60s", feedback_age="10m"),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=1_000.0, step_began_s=1_000.0),
)
BY_USER = replace(FLAG, bucket_by=UnitKind.USER)
NOW_S = 5_000.0
Sums = dict[SumKey, tuple[int, ...]]


def known_names() -> list[str]:
    """Names that this version writes, in both kinds of flags."""
    plan = pairs.plan_of(FLAG)
    assert plan is not None
    keys = [units_key("draft", FLAG.progress, 50_000), errors_key(FLAG, 0), shadow_key("draft", FLAG.progress)]
    keys += [pairs.pairs_key("draft", FLAG.progress, plan, "v", 0), pairs.replies_key("draft", FLAG.progress, "v")]
    keys += [requests_key("draft", FLAG.progress)]
    for series in series_of(FLAG):
        keys += [key_of("draft", FLAG.progress, series.prefix, 0)]
    keys += [
        *coverage_keys(FLAG, series_of(FLAG), UNITS).values(),
        *coverage_keys(FLAG, series_of(FLAG), REQUESTS).values(),
    ]
    names = [key.name for key in keys]
    for part in parts_of(BY_USER):
        names += [f"{part.name}.1000000.0.{group}" for group in ("0", "5", "all")]
    for prefix in ("errors.60", *(each.prefix for each in series_of(FLAG))):
        names += [f"folded.{prefix}{rest}" for rest in ("", ".0", ".ramp", ".step", ".bets1.0.05")]
    return names


NAMES = known_names()
WIDTHS = sorted({len(vector_of(nothing(each.plan))) for each in series_of(FLAG)})
NUMBERS = st.integers(-5, 300) | st.integers(-(2**62), 2**62)
VECTORS = st.lists(NUMBERS, min_size=1, max_size=40) | st.sampled_from(WIDTHS).flatmap(
    lambda width: st.lists(NUMBERS, min_size=width, max_size=width)
)
FOREIGN = st.sampled_from(NAMES) | st.sampled_from(NAMES).flatmap(
    lambda name: st.sampled_from([f"{name}.x", f"{name}.1", name.rpartition(".")[0], f"{name.rpartition('.')[0]}.-1"])
)


@pytest.mark.parametrize("flag", [FLAG, BY_USER], ids=["units", "users"])
@given(st.dictionaries(FOREIGN, VECTORS, max_size=5))
@settings(deadline=None)
def test_a_look_goes_on_whatever_was_added_up_by_whom(flag: FeatureFlag, found: dict[str, list[int]]) -> None:
    sums = {SumKey("draft", 1, name): tuple(vector) for name, vector in found.items() if name}
    verdicts = verdicts_of(flag, sums, NOW_S)
    assert verdicts.keys() == {gate.name for gate in GATES}
    assert all(each.reason for each in verdicts.values() if each.result is Result.ERROR)
    sample_ratio_of("draft", flag.progress, sums, NOW_S)
    samples_of("draft", flag.progress, sums)
    left: list[str] = []
    list(folds_of(flag, sums, NOW_S, left.append))
    assert all(left)


@given(st.dictionaries(st.text("abcxyz.0123456789", min_size=1, max_size=30), VECTORS, max_size=5))
@settings(deadline=None)
def test_sums_of_other_names_change_no_verdict(found: dict[str, list[int]]) -> None:
    ours: Sums = {errors_key(FLAG, 3): (2, 1, 100, 100), units_key("draft", FLAG.progress, 50_000): (100, 100)}
    others = {SumKey("draft", 1, f"new.{name}"): tuple(vector) for name, vector in found.items()}
    assert verdicts_of(FLAG, ours | others, NOW_S) == verdicts_of(FLAG, ours, NOW_S)
    assert sample_ratio_of("draft", FLAG.progress, ours | others, NOW_S) == sample_ratio_of(
        "draft", FLAG.progress, ours, NOW_S
    )


@pytest.mark.parametrize("name", ["errors.60.1000000.0", "errors.60.1000000.0.50000.1", "errors.60.1000000.-1.50000"])
def test_a_gate_says_which_sum_it_can_not_read_and_the_others_go_on(name: str) -> None:
    found = verdicts_of(FLAG, {SumKey("draft", 1, name): (1, 1, 5, 5)}, NOW_S)
    assert (found["worse"].result, found["worse"].reason) == (Result.ERROR, f"the store's sum {name!r} can't be read")
    assert found["form"].result is Result.NO_DATA


def test_numbers_of_a_name_are_whole_and_as_many_as_they_should_be() -> None:
    assert numbers_in("n", "5.0", 2) == (5, 0)
    for text in ("5", "5.0.1", "5.", "5.x", "-5.0", "5.1_0", "5.\N{ARABIC-INDIC DIGIT THREE}", f"5.{'9' * 19}"):
        with pytest.raises(InvalidArgument, match="the store's sum 'n' can't be read"):
            numbers_in("n", text, 2)


def test_counts_are_never_negative_nor_more_or_fewer_than_there_can_be() -> None:
    for fine in ((), (1,), (1, 2)):
        assert counts_in("n", fine, 2, least=len(fine)) == fine
    for vector in ((1, 2, 3), (-1,)):
        with pytest.raises(InvalidArgument):
            counts_in("n", vector, 2)
    with pytest.raises(InvalidArgument):
        counts_in("n", (1,), 2, least=2)


def test_what_is_wrong_is_told_in_one_short_line() -> None:
    assert told(unreadable("n")) == "the store's sum 'n' can't be read"
    assert told(ValueError("math domain error")) == ("the store's sums can't be used: ValueError('math domain error')")
    assert len(told(ValueError("x" * 500))) < 200
