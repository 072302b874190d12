"""What flagd's evaluator scenarios are about, in cases of our own, each asked of our rules and of flagd-core 2.0.0.

The scenarios of flagd's testbed themselves are not in this tree. Of its subjects these don't apply here: typed and
zero-valued variants, absent defaults and metadata (a flag has two arms, both names of upstreams, and the baseline is
its default), shared evaluators by $ref, fractional inside rules and more than two arms, the floats of fractional v1.
"""

from typing import Any

import pytest

from rollout.core.bucketing import bucket
from rollout.core.jsonlogic import InvalidRule, compile_rule
from rollout.core.model import BUCKETS
from tests.rollout.core.strategies import flagd_variant

MAIL, ID, VERSION = {"var": "email"}, {"var": "id"}, {"var": "version"}


def exactly(relation: str, limit: str) -> dict[str, Any]:
    return {"sem_ver": [VERSION, relation, limit]}


CASES: list[tuple[Any, dict[str, Any], bool]] = [
    # targeting by an attribute, given as text or as a list of one
    ({"==": ["ann@example.org", {"var": ["email"]}]}, {"email": "ann@example.org"}, True),
    ({"==": ["ann@example.org", MAIL]}, {"email": "bob@example.org"}, False),
    ({"==": ["ann@example.org", MAIL]}, {}, False),
    # beginnings and ends of text, and of what is no text
    ({"starts_with": [ID, "abc"]}, {"id": "abcdef"}, True),
    ({"starts_with": [ID, "abc"]}, {"id": "xabc"}, False),
    ({"starts_with": [ID, "1"]}, {"id": 123}, False),
    ({"!": {"starts_with": [ID, "1"]}}, {"id": 123}, True),
    ({"ends_with": [ID, "xyz"]}, {"id": "uvwxyz"}, True),
    ({"ends_with": [ID, "3"]}, {"id": 123}, False),
    # versions: equal, greater, less, before a release, with too many parts
    (exactly("=", "2.0.0"), {"version": "2.0.0"}, True),
    (exactly(">", "2.0.0"), {"version": "2.1.0"}, True),
    (exactly("<", "2.0.0"), {"version": "1.9.0"}, True),
    (exactly("<", "2.0.0"), {"version": "2.0.0-alpha"}, True),
    (exactly("!=", "2.0.0"), {"version": "2.0.0.0"}, False),
    # the same minor, the same major version
    (exactly("~", "3.0.0"), {"version": "3.0.1"}, True),
    (exactly("~", "3.0.0"), {"version": "3.1.0"}, False),
    (exactly("^", "3.0.0"), {"version": "3.1.0"}, True),
    (exactly("^", "3.0.0"), {"version": "4.0.0"}, False),
    # a leading v, missing parts, build metadata, numbers
    (exactly("=", "v1.0.0"), {"version": "1.0.0"}, True),
    (exactly("=", "1.0.0"), {"version": "V1.0.0"}, True),
    (exactly("^", "1"), {"version": "1.5"}, True),
    (exactly("^", "1"), {"version": 1}, True),
    (exactly(">", "1.1"), {"version": 1.2}, True),
    (exactly(">", "1.1"), {"version": 1.1}, False),
    (exactly("=", "1.0.0+build"), {"version": "1.0.0+other"}, True),
    # what is no version is neither equal nor different
    (exactly("=", "1.0.0"), {"version": "not-a-version"}, False),
    (exactly("!=", "1.0.0"), {"version": "not-a-version"}, False),
    (exactly("!=", "1.0.0"), {}, False),
    # what counts as true
    ({"if": [MAIL, True, False]}, {"email": ""}, False),
    ({"if": [MAIL, True, False]}, {"email": "0"}, True),
    ({"and": [MAIL, ID]}, {"email": "x", "id": 0}, False),
]


@pytest.mark.parametrize(("rule", "context", "expected"), CASES)
def test_our_rules_and_flagd_core_say_the_same(rule: Any, context: dict[str, Any], expected: bool) -> None:  # noqa: FBT001
    flag = {"state": "ENABLED", "variants": {"in": "in", "out": "out"}, "defaultVariant": "out"}
    told = flagd_variant(flag | {"targeting": {"if": [rule, "in", "out"]}}, context, "unit")
    assert (told == "in", compile_rule(rule).holds(context)) == (expected, expected)


@pytest.mark.parametrize(
    "rule",
    [{"sem_ver": [VERSION, "=", "x"]}, exactly("===", "1.0.0"), {"sem_ver": [VERSION, "="]}, {"ends_with": ["x"]}],
)
def test_what_flagd_takes_for_null_is_refused_before_it_is_in_force(rule: Any) -> None:
    with pytest.raises(InvalidRule):
        compile_rule(rule)


SUITS = ("clubs", "diamonds", "hearts", "spades")
OUTCOMES = [
    ("fractional-flag", {"jack": "hearts", "queen": "spades", "ten": "clubs", "nine": "diamonds", "3": "clubs"}),
    ("shared-seed", {"seven": "hearts", "eight": "diamonds", "nine": "clubs", "two": "spades"}),
]


@pytest.mark.parametrize(("salt", "outcomes"), OUTCOMES)
def test_version_2_outcomes_that_flagd_publishes_for_four_equal_arms(salt: str, outcomes: dict[str, str]) -> None:
    for unit, suit in outcomes.items():
        assert SUITS[bucket(2, salt, unit) * 4 // BUCKETS] == suit


@pytest.mark.parametrize(
    ("unit", "drawn"), [("ejOoVL", 0), ("bY9fO-", 0), ("SI7p-", 49_999), ("6LvT0", 50_000), ("ceQdGm", 99_999)]
)
def test_hashes_at_the_ends_and_in_the_middle(unit: str, drawn: int) -> None:
    assert bucket(2, "", unit) == drawn
