"""What flagd's evaluator scenarios are about, in cases of our own, each asked of our rules and of flagd-core 2.0.0.

The files of flagd's testbed (github.com/open-feature/flagd-testbed, evaluator/gherkin) are not in this tree:
the package that brings them, openfeature-flagd-api-testkit, was not to be had, and a copy needs its licence beside it.

| file | scenarios | here |
| --- | --- | --- |
| semver | numeric comparison; minor/major range; v-prefix; partial; build metadata; errors are null | all |
| string | substring operators; null for what is no text | all; a wrong number of arguments is refused when parsed |
| targeting | by targeting key | as an attribute: our rules read `user`, `conversation` and so on |
| fractional | operator, shared seed, hash edge cases (v2) | buckets; four arms as quarters of our buckets |
| fractional | shorthand | as rendered flags: test_flagd.py |
| disabled | reason DISABLED | test_evaluate.py, test_ofrep.py; the answer is the baseline, not the caller's default |
| errors | flag not found; type mismatch | first: test_ofrep.py; second: out, all values are text |
| fractional | v1 (floats) | out: hash versions are 2 and 3 |
| fractional | nested if, var, weights; as condition | out: two constant arms; `fractional` is no operator of rules |
| evaluator-refs | $ref, whitespace, missing ones | out: no shared rules |
| evaluation, precision, no-default-variant | typed values; absent default | out: two arms, baseline default |
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


BEGINNINGS_AND_ENDS = [("pre-1", "prefix"), ("1-post", "postfix"), ("pre-post", "prefix"), ("neither", "none")]


@pytest.mark.parametrize(("given_id", "expected"), BEGINNINGS_AND_ENDS)
def test_the_first_condition_that_holds_names_the_variant(given_id: str, expected: str) -> None:
    choice = {"if": [{"starts_with": [ID, "pre"]}, "prefix", {"ends_with": [ID, "post"]}, "postfix", "none"]}
    assert compile_rule({"==": [choice, expected]}).holds({"id": given_id})
    flag = {"state": "ENABLED", "variants": {name: name for name in ("prefix", "postfix", "none")}}
    assert flagd_variant(flag | {"defaultVariant": "none", "targeting": choice}, {"id": given_id}, "unit") == expected
