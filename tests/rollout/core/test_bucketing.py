import cbor2
import mmh3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from rollout.core.bucketing import bucket, bucketer
from rollout.core.model import BUCKETS

SALT = "copilot-inhouse"
UNITS = ("user-1", "user-2", "tenant-a|user-1", "ü-é-漢字", "😀")
V3 = (3963, 62603, 78340, 76602, 65122)
V2 = (16703, 93883, 29085, 62375, 68895)
"""Made with openfeature-flagd-core 1.0.0, the last release that hashed text."""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.mark.parametrize(("unit", "expected"), tuple(zip(UNITS, V3, strict=True)))
def test_version_3_vectors(unit: str, expected: int) -> None:
    assert bucket(3, SALT, unit) == expected


@pytest.mark.parametrize(("unit", "expected"), tuple(zip(UNITS, V2, strict=True)))
def test_version_2_vectors(unit: str, expected: int) -> None:
    assert bucket(2, SALT, unit) == expected


@given(texts, texts)
@example("s", "x" * 23)
@example("s", "x" * 24)
@example("s", "x" * 255)
@example("s", "x" * 256)
@example("s", "x" * 65_535)
@example("s", "x" * 65_536)
@example("s" * 70_000, "x")
def test_version_3_hashes_the_canonical_cbor_of_salt_and_unit(salt: str, unit: str) -> None:
    encoded = cbor2.dumps([salt, unit], canonical=True)
    assert bucket(3, salt, unit) == (mmh3.hash(encoded, signed=False) * BUCKETS) >> 32


@given(texts, texts)
def test_version_2_hashes_the_joined_text(salt: str, unit: str) -> None:
    assert bucket(2, salt, unit) == (mmh3.hash(salt + unit, signed=False) * BUCKETS) >> 32


@given(st.sampled_from([2, 3]), texts, texts)
def test_a_bucket_is_in_range_and_a_pure_function(version: int, salt: str, unit: str) -> None:
    drawn = bucket(version, salt, unit)
    assert 0 <= drawn < BUCKETS
    assert drawn == bucketer(version, salt)(unit)


@given(texts.filter(bool), st.integers(1, BUCKETS - 1))
def test_flagd_core_draws_the_same_bucket(unit: str, share: int) -> None:
    arms = [["in", share], ["out", BUCKETS - share]]
    flag = {"state": "ENABLED", "variants": {"in": "in", "out": "out"}, "defaultVariant": "out"}
    core = FlagdCore()
    core.set_flags({"flags": {SALT: flag | {"targeting": {"fractional": arms}}}})
    told = core.resolve_string_value(SALT, "default", EvaluationContext(unit)).value
    assert (told == "in") == (bucket(3, SALT, unit) < share)


def test_an_unknown_hash_version_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown hash version 4"):
        bucketer(4, SALT)
