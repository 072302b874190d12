from typing import Any

import msgspec
import pytest

from rollout.core.model import (
    EMPTY_SNAPSHOT,
    NOT_LOADED,
    Audience,
    Eligibility,
    Enrolment,
    FeatureFlag,
    Holdout,
    Keep,
    Kill,
    Prerequisite,
    Shadow,
    State,
    Subject,
    UnitKind,
)


def test_salts_default_to_the_feature_and_are_never_equal() -> None:
    flag = FeatureFlag(feature="summarize", candidate="a", baseline="b")
    assert (flag.split_salt, flag.holdout_salt) == ("summarize", "summarize:holdout")
    named = FeatureFlag(feature="summarize", candidate="a", baseline="b", salt="s", holdout=Holdout(1000, "h"))
    assert (named.split_salt, named.holdout_salt) == ("s", "h")


def test_a_holdout_drawn_with_the_splits_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        FeatureFlag(feature="f", candidate="a", baseline="b", holdout=Holdout(1000, "f"))


def test_values_are_frozen_and_spelt_as_in_the_document() -> None:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b")
    with pytest.raises(AttributeError):
        flag.share_millipct = 5  # type: ignore[misc]
    names = {"schemaVersion", "revision", "owner", "hashVersion", "salt", "candidate", "baseline", "bucketBy"}
    assert names | {
        "feature",
        "sticky",
        "state",
        "share_millipct",
        "holdout",
        "kill",
        "ramp",
        "gates",
        "rollback",
        "evidence",
        "progress",
        "eligibility",
        "prerequisites",
        "shadow",
    } == set(msgspec.to_builtins(flag))
    assert set(msgspec.to_builtins(flag.kill)) == {"on", "actor", "at", "reason"}


def test_a_subject_has_a_field_for_each_kind_of_unit() -> None:
    assert Subject._fields == (*(kind.value for kind in UnitKind), "attributes")


def test_a_process_that_never_saw_a_document_says_so() -> None:
    assert EMPTY_SNAPSHOT.version == NOT_LOADED
    assert not EMPTY_SNAPSHOT.features


def test_the_shadow_sample_has_a_salt_of_its_own() -> None:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b")
    assert flag.shadow_salt == "f:shadow"
    named = FeatureFlag(feature="f", candidate="a", baseline="b", shadow=Shadow(1, "s", 1, 1))
    assert named.shadow_salt == "s"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"shadow": Shadow(salt="f")}, "shadow.salt must differ"),
        ({"shadow": Shadow(salt="f:holdout")}, "shadow.salt must differ"),
        ({"prerequisites": (Prerequisite("f"),)}, "its own prerequisite"),
        ({"prerequisites": (Prerequisite("g"), Prerequisite("g"))}, "twice"),
    ],
)
def test_flags_that_contradict_themselves_are_refused(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        FeatureFlag(feature="f", candidate="a", baseline="b", **changes)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"tenants": ("acme",)}, "have no effect"),
        ({"audience": Audience.LISTED, "tenants": ("acme", "acme")}, "listed twice"),
        ({"early_access": (Enrolment("acme", "ann"), Enrolment("acme", "ann"))}, "two entries"),
        ({"attributes": {"nope": []}}, "no operator 'nope'"),
    ],
)
def test_eligibility_that_would_be_ignored_is_refused(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        Eligibility(**changes)


def test_a_shadow_sample_that_could_not_be_served_is_refused() -> None:
    for budget, concurrent in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="needs daily_budget and max_concurrent"):
            Shadow(1, "", budget, concurrent)
    assert Shadow().millipct == 0


def test_texts_are_kept_if_that_is_said_and_for_a_time_that_can_be_meant() -> None:
    assert not Shadow().keep
    assert Keep(pairs=True)
    assert Keep(answers=True)
    assert Keep(ttl="90d").ttl_s == 90 * 86_400
    for ttl in ("59m", "91d"):
        with pytest.raises(ValueError, match="1h to 90d"):
            Keep(ttl=ttl)


def test_a_killed_or_disabled_flag_is_not_in_operation() -> None:
    flag = FeatureFlag(feature="f", candidate="a", baseline="b")
    assert flag.in_operation
    assert not msgspec.structs.replace(flag, kill=Kill(on=True)).in_operation
    assert not msgspec.structs.replace(flag, state=State.DISABLED).in_operation
