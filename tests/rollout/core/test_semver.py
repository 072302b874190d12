import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core.targeting.custom_ops import sem_ver

from rollout.core.semver import OPERATORS, parse

ASCENDING = (
    "0.0.1", "0.9", "1.0.0-1", "1.0.0-2", "1.0.0-10", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0-rc.1",
    "1", "1.0.1", "1.1", "2.0.0", "10.0.0",
)  # fmt: skip

parts = st.integers(0, 12).map(str)
labels = st.lists(st.sampled_from(["0", "1", "10", "a", "a1", "-", "rc"]), min_size=1, max_size=3).map(".".join)
versions = st.builds(
    lambda prefix, numbers, label, build: prefix + ".".join(numbers) + label + build,
    st.sampled_from(["", "v", "V"]),
    st.lists(parts, min_size=1, max_size=4),
    st.just("") | labels.map("-".__add__),
    st.just("") | labels.map("+".__add__),
)


def test_precedence() -> None:
    assert sorted(ASCENDING, key=lambda text: parse(text) or ()) == list(ASCENDING)
    assert parse("1.0.0+one") == parse("v1+two") == parse(1) == parse(1.0)


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3.4", "01.0.0", "1.0.0-", "1.0.0-01", "None", "1..2", "1.0.0\n", "9" * 5000]
)
def test_what_is_no_version(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("one", "relation", "other"),
    [("1.9", "^", "1.0.0"), ("1.0.9", "~", "1.0.0"), ("1", "=", "1.0"), ("1", "!=", "1.1"), ("2", ">=", "2.0.0-rc")],
)
def test_relations(one: str, relation: str, other: str) -> None:
    first, second = parse(one), parse(other)
    assert first
    assert second
    assert OPERATORS[relation](first, second)
    assert not OPERATORS["^"](first, second._replace(major=77))


@given(versions | st.integers(0, 30) | st.floats(0, 3), st.sampled_from(sorted(OPERATORS)), versions)
def test_flagd_core_compares_alike(one: object, relation: str, other: str) -> None:
    first, second = parse(one), parse(other)
    ours = None if first is None or second is None else OPERATORS[relation](first, second)
    assert ours == sem_ver({}, one, relation, other)  # type: ignore[arg-type]
    assert first is None or operator.eq(first, parse(one))
