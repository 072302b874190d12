"""What was worked out from sums once is the same as what is worked out anew, and of no other sums, flag or time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.evidence.arms import sample_ratio_of, units_key
from rollout.core.evidence.folding import folds_of
from rollout.core.evidence.known import KnownSums, once, same_or_new
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.plans import EPOCH_S, errors_key, key_of, series_of, vector_of
from rollout.core.evidence.score import Units
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.ramp_model import EarlyMargin, Evidence, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = SumKey("draft", 1, "x")
BEGAN_S = 1_000_000.0


def gate(metric: str, kind: GateKind, **more: object) -> Gate:
    asked = {"margin": None if kind is GateKind.THRESHOLD else 0.05, "alpha": 0.05, **more}
    return Gate(name=f"{metric}-{kind}", role=Role.HARD, source="evidence", kind=kind, metric=metric, **asked)


GATES = (
    gate("errors", GateKind.NONINFERIORITY),
    gate("errors", GateKind.HARM),
    gate("errors", GateKind.THRESHOLD, limit=0.5, direction="lower"),
    gate("total_p95", GateKind.NONINFERIORITY, early=(EarlyMargin(0.2, 30_000),)),
    gate("total_p95", GateKind.HARM, scope="ramp"),
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=50_000,
    ramp=RampPlan(steps=(Step(share=20_000), Step(share=50_000))),
    gates=GATES,
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=BEGAN_S, step_began_s=BEGAN_S + 300.0),
)
OTHERS = (
    replace(FLAG, share_millipct=20_000),
    replace(FLAG, progress=replace(FLAG.progress, step=0, step_began_s=BEGAN_S)),
    replace(FLAG, progress=replace(FLAG.progress, attempt=2)),
    replace(FLAG, evidence=Evidence(age="20s")),
    replace(FLAG, gates=GATES[1:]),
    replace(FLAG, gates=tuple(replace(each, alpha=0.01) for each in GATES)),
    replace(FLAG, gates=tuple(replace(each, margin=each.margin and 0.1) for each in GATES)),
    replace(FLAG, bucket_by=UnitKind.USER),
)


def added_up(seed: int, epochs: int) -> dict[SumKey, tuple[int, ...]]:
    """What units of two steps came to."""
    found: dict[SumKey, tuple[int, ...]] = {}
    chance = np.random.default_rng(seed)
    for epoch in range(epochs):
        flag = FLAG if epoch * EPOCH_S >= 300.0 else OTHERS[1]
        arm = chance.random(60) < 0.5
        units = Units(np.full(60, 50_000), arm, (chance.random(60) < 0.9) * 1.0, np.full(60, 0.9))
        for series in series_of(flag):
            key = key_of("draft", flag.progress, series.prefix, epoch)
            found[key] = tuple(vector_of(gathered(series.plan, units)))
        found[errors_key(flag, epoch)] = (5, int(seed % 7), int(arm.sum()), int(60 - arm.sum()))
    return found | {units_key("draft", FLAG.progress, 50_000): (30 * epochs, 30 * epochs)}


def all_said(flag: FeatureFlag, sums: Mapping[SumKey, tuple[int, ...]], now_s: float) -> tuple[object, ...]:
    ratio = sample_ratio_of(flag.feature, flag.progress, sums, now_s)
    return verdicts_of(flag, sums, now_s), ratio, list(folds_of(flag, sums, now_s))


@given(
    st.integers(0, 1_000),
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from((FLAG, *OTHERS)), st.sampled_from([0.0, 90.0, 400.0, 3_000.0])), max_size=8),
)
def test_each_look_says_what_it_would_say_without_memory(
    seed: int, epochs: int, looks: list[tuple[FeatureFlag, float]]
) -> None:
    """However flag and time change between looks: the same bits, reasons and times."""
    sums = added_up(seed, epochs)
    known = KnownSums(sums)
    for flag, after_s in looks:
        assert all_said(flag, known, BEGAN_S + after_s) == all_said(flag, sums, BEGAN_S + after_s)


def test_time_goes_on_where_the_sums_do_not() -> None:
    nothing = KnownSums({})
    early, late = (verdicts_of(FLAG, nothing, BEGAN_S + after_s)["errors-harm"] for after_s in (310.0, 3_000.0))
    assert (early.result, late.result) == ("INCONCLUSIVE", "NO_DATA")
    some = KnownSums(added_up(1, 4))
    first, second = (verdicts_of(FLAG, some, BEGAN_S + after_s)["errors-harm"] for after_s in (700.0, 800.0))
    assert (first.value, second.at_s - first.at_s) == (second.value, 100.0)
    assert not list(folds_of(FLAG, some, BEGAN_S + 700.0))
    assert list(folds_of(FLAG, some, BEGAN_S + 1_000.0))


def test_a_question_is_worked_out_once_for_the_same_sums() -> None:
    known, asked = KnownSums({KEY: (1,)}), []

    def work_out() -> int:
        asked.append(1)
        return len(asked)

    assert [once(known, "a", work_out), once(known, "a", work_out), once(known, "b", work_out)] == [1, 1, 2]
    assert [once(dict(known), "a", work_out), once(dict(known), "a", work_out)] == [3, 4]


def test_what_fails_is_asked_again() -> None:
    known = KnownSums({})
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            once(known, "a", lambda: 1 / 0)
    assert once(known, "a", lambda: 7) == 7


def test_other_sums_remember_nothing() -> None:
    before = same_or_new(None, {KEY: (1,)})
    assert same_or_new(before, {KEY: (1,)}) is before
    for other in ({KEY: (2,)}, {}, {KEY: (1,), KEY._replace(name="y"): (1,)}):
        after = same_or_new(before, other)
        assert after is not before
        assert after == other
