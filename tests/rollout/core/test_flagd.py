import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason as FlagdReason

from rollout.core.codec import render_document
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.flagd import flagd_context, is_portable, render_flag
from rollout.core.model import (
    BUCKETS,
    Arm,
    Audience,
    Eligibility,
    Enrolment,
    EnrolmentState,
    FeatureFlag,
    Holdout,
    Kill,
    Prerequisite,
    State,
    Subject,
)
from tests.rollout.core.strategies import flags, subjects, texts, unit_of

FLAG = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", revision=3, share_millipct=25_000)
ARMS = [["candidate", 25_000], ["baseline", 75_000]]
PRO = {"==": [{"var": "plan"}, "pro"]}


def targeting(flag: FeatureFlag) -> Any:
    return render_flag(flag).get("targeting")


def flagd(flag: FeatureFlag, unit: str | None, context: dict[str, Any] | None = None) -> Any:
    core = FlagdCore()
    core.set_flags(json.dumps(render_document({flag.feature: flag})))
    return core.resolve_string_value(flag.feature, flag.baseline, EvaluationContext(unit, context or {}))


def ours(flag: FeatureFlag, subject: Subject) -> str:
    return decide(compile_snapshot({flag.feature: flag}, 1), flag.feature, subject).upstream


def test_the_flagd_half_is_plain_flagd() -> None:
    assert render_flag(FLAG) == {
        "state": "ENABLED",
        "variants": {"candidate": "inhouse", "baseline": "partner"},
        "defaultVariant": "baseline",
        "metadata": {"revision": 3, "hashVersion": 3, "bucketBy": "conversation", "portable": True},
        "targeting": {"fractional": ARMS},
    }


@given(flags, subjects)
def test_flagd_core_decides_the_same_where_it_can(flag: FeatureFlag, subject: Subject) -> None:
    plain = replace(flag, hash_version=3, salt="", holdout=Holdout(), state=State.ENABLED)
    assert is_portable(plain)
    assert flagd(plain, unit_of(plain, subject), flagd_context(plain, subject)).value == ours(plain, subject)


@given(flags, subjects)
def test_what_is_called_portable_is(flag: FeatureFlag, subject: Subject) -> None:
    told = flagd(flag, unit_of(flag, subject), flagd_context(flag, subject))
    assert told.flag_metadata["portable"] is is_portable(flag)
    if told.flag_metadata["portable"] and flag.hash_version == 3:
        assert told.value == ours(flag, subject)


@given(st.integers(1, BUCKETS), st.none() | texts)
def test_flagd_core_splits_the_same_with_any_unit(share: int, unit: str | None) -> None:
    flag = replace(FLAG, share_millipct=share)
    assert flagd(flag, unit).value == ours(flag, Subject(unit))


@pytest.mark.parametrize("share", [0, 1, 3_963, 3_964, 50_000, BUCKETS])
def test_flagd_core_splits_at_the_same_bucket(share: int) -> None:
    flag = replace(FLAG, feature="copilot-inhouse", share_millipct=share)
    for unit in ("user-1", *map(str, range(300))):
        assert flagd(flag, unit).value == ours(flag, Subject(unit))


def test_a_disabled_flag_is_disabled_for_flagd() -> None:
    told = flagd(replace(FLAG, state=State.DISABLED), "u")
    assert (told.reason, told.value) == (FlagdReason.DISABLED, "partner")


@pytest.mark.parametrize(
    "changes",
    [{"salt": "another"}, {"holdout": Holdout(1)}, {"prerequisites": (Prerequisite("other"),)}],
)
def test_what_flagd_would_draw_differently_is_left_out_and_said(changes: dict[str, Any]) -> None:
    flag = replace(FLAG, share_millipct=BUCKETS, **changes)
    assert not is_portable(flag)
    told = flagd(flag, "u")
    assert (told.value, told.flag_metadata["portable"]) == ("partner", False)


def test_version_2_is_rendered_as_joined_text_for_flagd_of_that_time() -> None:
    flag = replace(FLAG, hash_version=2, salt="s")
    unit = {"var": "targetingKey"}
    split = {"fractional": [{"cat": ["s", unit]}, *ARMS]}
    assert targeting(flag) == {"if": [{"!!": [unit]}, split, "baseline"]}
    assert flagd(flag, None).value == "partner"
    ruled = replace(flag, eligibility=Eligibility(attributes=PRO))
    assert targeting(ruled) == {"if": [{"and": [PRO, {"!!": [unit]}]}, split, "baseline"]}


def test_eligibility_is_rendered_as_a_condition() -> None:
    entries = (
        Enrolment("acme", "ann", EnrolmentState.APPROVED),
        Enrolment("acme", "bob", EnrolmentState.REQUESTED),
        Enrolment("umbrella", "", EnrolmentState.APPROVED),
    )
    tenants = {"in": [{"var": "tenant"}, ["other", "umbrella"]]}
    early = {"and": [{"===": [{"var": "tenant"}, "acme"]}, {"in": [{"var": "user"}, ["ann"]]}]}
    split = {"fractional": ARMS}
    listed = replace(FLAG, eligibility=Eligibility(Audience.LISTED, ("other",), entries))
    assert targeting(listed) == {"if": [{"or": [tenants, early]}, split, "baseline"]}
    only = replace(FLAG, eligibility=Eligibility(Audience.LISTED, ("other",), attributes=PRO))
    both = {"and": [{"in": [{"var": "tenant"}, ["other"]]}, PRO]}
    assert targeting(only) == {"if": [both, split, "baseline"]}


def test_the_feature_has_another_name_in_flagd() -> None:
    rule = {"and": [{"in": [{"var": "feature"}, ["summarize"]]}, {"==": [{"var": ["feature", "x"]}, "summarize"]}]}
    flag = replace(FLAG, share_millipct=BUCKETS, eligibility=Eligibility(attributes=rule))
    assert '"feature"' not in json.dumps(targeting(flag))
    assert flagd(flag, "u").value == ours(flag, Subject("u")) == "inhouse"


def test_the_context_leaves_out_what_is_absent() -> None:
    subject = Subject("c", "", None, None, {"plan": "pro", "beta": None, "groups": ("a", "b")})
    assert flagd_context(FLAG, subject) == {"conversation": "c", "plan": "pro", "groups": ["a", "b"]}


def test_a_decision_for_everybody_is_always_portable() -> None:
    odd = replace(FLAG, salt="another", holdout=Holdout(5), prerequisites=(Prerequisite("other"),))
    for flag in (replace(odd, kill=Kill(on=True)), replace(odd, share_millipct=0), replace(odd, state=State.DISABLED)):
        assert is_portable(flag)
    assert flagd(replace(odd, kill=Kill(on=True)), "u").value == "partner"
    assert decide(compile_snapshot({"summarize": FLAG}, 1), "summarize", Subject()).arm is Arm.BASELINE
