from typing import Any

import pytest
from hypothesis import given

from rollout.core.jsonlogic import DEPTH_MAX, NODES_MAX, InvalidRule, compile_rule
from tests.rollout.core.strategies import VARIABLES, contexts, flagd_variant, rules


def holds(rule: Any, **context: object) -> bool:
    return compile_rule(rule).holds(context)


def test_a_rule_reads_attributes() -> None:
    rule = {"and": [{"==": [{"var": "plan"}, "pro"]}, {"!": {"in": [{"var": ["region", "eu"]}, ["cn"]]}}]}
    assert holds(rule, plan="pro")
    assert not holds(rule, plan="pro", region="cn")
    assert not holds(rule, plan="free")
    assert compile_rule(rule).names == {"plan", "region"}


def test_a_default_stands_for_an_absent_attribute() -> None:
    rule = {"==": [{"var": ["plan", "pro"]}, "pro"]}
    assert holds(rule)
    assert holds(rule, plan=None)
    assert not holds(rule, plan="")
    assert holds({"===": [{"var": ["plan", None]}, None]})


@pytest.mark.parametrize(
    ("rule", "cause"),
    [
        (True, "a rule is an object with one operator"),
        ({}, "exactly one operator, not 0"),
        ({"==": [1, 1], "!=": [1, 1]}, "exactly one operator, not 2"),
        ({"=": [1, 1]}, "there is no operator '='"),
        ({"start_with": ["a", "b"]}, "did you mean 'starts_with'?"),
        ({"fractional": [["a", 1]]}, "known: var, =="),
        ({5: []}, "there is no operator 5"),
        ({"==": [1]}, "'==' takes 2 arguments, not 1"),
        ({"!": [1, 2]}, "'!' takes 1 argument, not 2"),
        ({"<": [1]}, "'<' takes 2 to 3 arguments"),
        ({"and": []}, "'and' takes 1 to more arguments"),
        ({"!": {"var": "user.name"}}, "'var' takes the name of an attribute"),
        ({"!": {"var": "targetingKey"}}, "'var' takes the name of an attribute"),
        ({"!": {"var": []}}, "'var' takes the name"),
        ({"!": {"var": ["a", 1, 2]}}, "'var' takes the name"),
        ({"!": {"var": 1}}, "'var' takes the name"),
        ({"!": {"var": {"var": "a"}}}, "'var' takes the name"),
        ({"==": [["a"], "a"]}, "a list may only be what 'in' looks into"),
        ({"in": [["a"], "a"]}, "a list may only be"),
        ({"in": ["a", [["a"]]]}, "a list may only be"),
        ({"!": [float("nan")]}, "nan can't stand in a rule"),
        ({"!": [2**53 + 1]}, "too large"),
        ({"!": [b"x"]}, "can't stand in a rule"),
        ({"!": ["x" * 513]}, "at most 512 characters"),
        ({"!": {"x" * 200: 1}}, "..."),
        ({"sem_ver": [{"var": "v"}, "==", "1.0.0"]}, "'sem_ver' compares with one of"),
        ({"sem_ver": [{"var": "v"}, {"var": "w"}, "1.0.0"]}, "'sem_ver' compares with one of"),
        ({"sem_ver": [{"var": "v"}, "=", "one"]}, "'one' is no version"),
    ],
)
def test_what_is_outside_the_subset_is_refused(rule: Any, cause: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        compile_rule(rule)
    assert cause in str(refused.value)


def test_depth_and_size_are_bounded() -> None:
    deep: Any = {"var": "a"}
    for _ in range(DEPTH_MAX - 1):
        deep = {"!": [deep]}
    assert compile_rule(deep).names == {"a"}
    with pytest.raises(InvalidRule, match="nested at most"):
        compile_rule({"!": [deep]})
    assert not holds({"in": [{"var": "a"}, ["x"] * (NODES_MAX - 3)]})
    with pytest.raises(InvalidRule, match=f"at most {NODES_MAX} parts"):
        compile_rule({"in": [{"var": "a"}, ["x"] * (NODES_MAX - 2)]})
    with pytest.raises(InvalidRule, match="at most"):
        compile_rule({"or": [{"var": "a"}] * NODES_MAX})


@given(rules)
def test_names_are_those_that_are_read(rule: Any) -> None:
    read: set[str] = set()

    class Watched(dict[str, object]):
        def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
            read.add(name)
            return default

    compiled = compile_rule(rule)
    compiled.holds(Watched())
    assert read <= compiled.names <= set(VARIABLES)


@given(rules, contexts)
def test_flagd_core_evaluates_alike(rule: Any, context: dict[str, object]) -> None:
    flag = {
        "state": "ENABLED",
        "variants": {"yes": "yes", "no": "no"},
        "defaultVariant": "no",
        "targeting": {"if": [rule, "yes", "no"]},
    }
    assert (flagd_variant(flag, context, "u") == "yes") is compile_rule(rule).holds(context)
