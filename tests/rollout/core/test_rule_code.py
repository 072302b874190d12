"""A rule as one function says what its closures say, whatever stands in rule and subject."""

import ast
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rollout.core.eligibility import NAMES, context_of
from rollout.core.jsonlogic import compile_rule
from rollout.core.jsonlogic_operators import code_of
from rollout.core.model import Subject
from rollout.core.rule_code import admitting
from tests.examples import fewer
from tests.rollout.core.strategies import attributes, rules, scalars, subjects, texts

PLAN, ANN = {"var": "plan"}, Subject("c", "ann", "acme", "r", {"plan": "pro"})
named = st.builds(
    lambda how, name, literal: {how: [{"var": name}, literal]},
    st.sampled_from(["==", "!=", "<", ">=", "starts_with"]),
    st.sampled_from(NAMES),
    scalars,
)


def both(rule: Any, subject: Subject, feature: str = "f") -> tuple[bool, bool]:
    compiled = compile_rule(rule)
    whole = None if compiled.names.isdisjoint(NAMES) else context_of
    return admitting(compiled.root, feature, whole)(subject), compiled.holds(context_of(feature, subject))


@given(rules, subjects)
@example({"==": [PLAN, 'a"@\\@\n\ud800😀{}%s']}, ANN._replace(attributes={"plan": 'a"@\\@\n\ud800😀{}%s'}))
@example({"in": [PLAN, ["@", True, None, -1, 1.5]]}, ANN._replace(attributes={"plan": 1}))
def test_function_and_closures_say_the_same(rule: Any, subject: Subject) -> None:
    quick, slow = both(rule, subject)
    assert quick is slow


@fewer(50)
@given(st.lists(named | rules, min_size=1, max_size=4), st.sampled_from(["and", "or"]), subjects)
def test_they_do_for_what_a_subject_is_too(some: list[Any], word: str, subject: Subject) -> None:
    quick, slow = both({word: some}, subject)
    assert quick is slow


@given(
    st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "starts_with", "ends_with", "==="]),
    scalars,
    attributes,
    st.booleans(),
)
def test_an_attribute_against_a_literal(how: str, literal: Any, value: Any, turned: bool) -> None:  # noqa: FBT001
    operands = [literal, PLAN] if turned else [PLAN, literal]
    quick, slow = both({"!": {"and": [{how: operands}, {how: operands}]}}, ANN._replace(attributes={"plan": value}))
    assert quick is slow


@pytest.mark.parametrize(
    ("rule", "subject", "expected"),
    [
        ({"==": [PLAN, "pro"]}, ANN, True),
        ({"and": [{"==": [PLAN, "pro"]}, {"<": [1, 2, 3]}]}, ANN, True),
        ({"and": [{"==": [{"var": "feature"}, "f"]}, {"==": [{"var": "tenant"}, "acme"]}, {"cat": ["x"]}]}, ANN, True),
        ({"==": [{"cat": [{"var": "user"}, "!"]}, "ann!"]}, ANN, True),
        ({"!!": {"var": "tenant"}}, ANN._replace(tenant=""), False),
        ({"==": [{"var": "tenant"}, "acme"]}, ANN._replace(tenant=None, attributes={"tenant": "acme"}), False),
        ({"in": [PLAN, []]}, ANN, False),
        ({"<": [1, 2]}, ANN, True),
    ],
)
def test_what_it_says(rule: Any, subject: Subject, *, expected: bool) -> None:
    assert both(rule, subject) == (expected, expected)


@pytest.mark.parametrize("value", [{}, [], object(), b"x"])
@pytest.mark.parametrize("rule", [{"==": [PLAN, "x"]}, {"<": [PLAN, 1]}, {"!=": [PLAN, "x"]}])
def test_both_raise_for_a_value_that_no_rule_can_read(rule: Any, value: object) -> None:
    compiled, subject = compile_rule(rule), ANN._replace(attributes={"plan": value})
    for ask, given_ in ((compiled.holds, subject.attributes), (admitting(compiled.root, "f", None), subject)):
        with pytest.raises(TypeError, match="a rule can't read"):
            ask(given_)


def test_the_largest_rule_there_may_be() -> None:
    condition: Any = {"==": [PLAN, "x" * 500]}
    for _ in range(12):
        condition = {"!": condition}
    wide = {"or": [{"and": [condition, {"==": [PLAN, f"{number}"]}]} for number in range(60)]}
    assert len(set(both(wide, ANN))) == 1


def test_features_with_the_same_rule_keep_their_names() -> None:
    rule = compile_rule({"==": [{"var": "feature"}, "a"]})
    assert [admitting(rule.root, name, context_of)(ANN) for name in ("a", "b", "a")] == [True, False, True]


@given(texts)
@example("__import__('os')")
@example('"+open("/etc/passwd")+"')
def test_what_an_author_writes_is_never_code(literal: str) -> None:
    rule = {"or": [{"==": [PLAN, literal]}, {"in": [PLAN, [literal]]}, {"starts_with": [PLAN, literal]}]}
    code = code_of(compile_rule(rule).root)
    tree = ast.parse(code.text, mode="eval")
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert called == {"equal", "isinstance", "v_plan.startswith"}
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert read == {"equal", "isinstance", "v_plan", "str"}
