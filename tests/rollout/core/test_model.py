import msgspec
import pytest

from rollout.core.model import EMPTY_SNAPSHOT, NOT_LOADED, FeatureFlag, Holdout, Subject, UnitKind


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
    assert names | {"feature", "state", "share_millipct", "holdout", "kill"} == set(msgspec.to_builtins(flag))
    assert set(msgspec.to_builtins(flag.kill)) == {"on", "actor", "at", "reason"}


def test_a_subject_has_a_field_for_each_kind_of_unit() -> None:
    assert Subject._fields == tuple(kind.value for kind in UnitKind)


def test_a_process_that_never_saw_a_document_says_so() -> None:
    assert EMPTY_SNAPSHOT.version == NOT_LOADED
    assert not EMPTY_SNAPSHOT.features
