from typing import Any

import pytest

from rollout.core.jsonlogic import compile_rule
from rollout.core.jsonlogic_operators import OPERATORS, InvalidRule, Node, as_test, shown
from rollout.core.model import Subject
from rollout.core.rule_code import admitting

PLAN = {"var": "plan"}


def holds(rule: Any, **context: object) -> bool:
    compiled = compile_rule(rule)
    found = compiled.holds(context)
    assert admitting(compiled.root, "f", None)(Subject(attributes=context)) == found
    return found


TRUE: list[tuple[Any, dict[str, object]]] = [
    ({"==": [PLAN, "pro"]}, {"plan": "pro"}),
    ({"==": ["pro", PLAN]}, {"plan": "pro"}),
    ({"==": [PLAN, "1"]}, {"plan": 1}),
    ({"==": [{"var": "a"}, PLAN]}, {"plan": 1, "a": "1"}),
    ({"!=": [PLAN, "pro"]}, {}),
    ({"!=": [PLAN, "pro"]}, {"plan": "free"}),
    ({"===": [PLAN, "pro"]}, {"plan": "pro"}),
    ({"===": [{"var": "a"}, PLAN]}, {"plan": "x", "a": "x"}),
    ({"!==": [PLAN, 1]}, {"plan": "1"}),
    ({"<": [1, PLAN]}, {"plan": 2}),
    ({"<": [1, PLAN, 3]}, {"plan": 2}),
    ({"<": [1, PLAN, None]}, {"plan": 2}),
    ({">=": [PLAN, "b"]}, {"plan": "b"}),
    ({">": [PLAN, 1]}, {"plan": "2"}),
    ({"<=": [3, 3, 3]}, {}),
    ({"<": [{"var": "a"}, PLAN]}, {"a": 1, "plan": 2}),
    ({"==": [{"or": [0, PLAN, 1]}, "x"]}, {"plan": "x"}),
    ({"==": [{"or": [0, PLAN]}, ""]}, {"plan": ""}),
    ({"==": [{"and": [1, PLAN]}, "x"]}, {"plan": "x"}),
    ({"==": [{"and": [PLAN, 1]}, ""]}, {"plan": ""}),
    ({"!": [PLAN]}, {}),
    ({"!!": PLAN}, {"plan": "x"}),
    ({"and": [{"==": [1, 1]}, {"==": [PLAN, "x"]}]}, {"plan": "x"}),
    ({"and": [1, PLAN]}, {"plan": "x"}),
    ({"or": [{"==": [1, 2]}, {"==": [PLAN, "x"]}]}, {"plan": "x"}),
    ({"or": [0, PLAN]}, {"plan": "x"}),
    ({"if": [PLAN, 1, 0]}, {"plan": "x"}),
    ({"if": [0, 0, PLAN, 1]}, {"plan": "x"}),
    ({"if": [0, 0, 1]}, {}),
    ({"in": [PLAN, ["a", "b"]]}, {"plan": "b"}),
    ({"in": ["r", PLAN]}, {"plan": "pro"}),
    ({"in": ["a", {"var": "groups"}]}, {"groups": ("a",)}),
    ({"==": [{"cat": [PLAN, "-", 1]}, "pro-1"]}, {"plan": "pro"}),
    ({"starts_with": [PLAN, "pr"]}, {"plan": "pro"}),
    ({"ends_with": [PLAN, "ro"]}, {"plan": "pro"}),
    ({"sem_ver": [PLAN, ">=", "1.2"]}, {"plan": "v1.2.0"}),
    ({"sem_ver": ["1.3.0", "^", PLAN]}, {"plan": "1.0"}),
]
FALSE: list[tuple[Any, dict[str, object]]] = [
    ({"==": [PLAN, "pro"]}, {}),
    ({"<": [1, PLAN, 3]}, {"plan": 3}),
    ({"<": [1, PLAN]}, {"plan": 1}),
    ({"<": [1, PLAN, 3]}, {"plan": 0}),
    ({"and": [{"==": [1, 1]}, {"==": [PLAN, "x"]}]}, {}),
    ({"and": [0, PLAN]}, {"plan": "x"}),
    ({"or": [{"==": [1, 2]}, {"==": [PLAN, "x"]}]}, {}),
    ({"or": [0, PLAN]}, {}),
    ({"if": [0, 1]}, {}),
    ({"in": [PLAN, ["a"]]}, {}),
    ({"starts_with": [PLAN, "1"]}, {"plan": 1}),
    ({"ends_with": ["1", PLAN]}, {"plan": 1}),
    ({"sem_ver": [PLAN, "=", "1.0.0"]}, {"plan": "one"}),
    ({"sem_ver": ["1.0.0", "=", PLAN]}, {}),
]


@pytest.mark.parametrize(("rule", "context"), TRUE)
def test_what_holds(rule: Any, context: dict[str, object]) -> None:
    assert holds(rule, **context) is True


@pytest.mark.parametrize(("rule", "context"), FALSE)
def test_what_does_not(rule: Any, context: dict[str, object]) -> None:
    assert holds(rule, **context) is False


def test_every_operator_is_tried() -> None:
    tried = repr([rule for rule, _ in TRUE])
    assert all(f"{name!r}:" in tried for name in OPERATORS)


@pytest.mark.parametrize("rule", [{"==": [PLAN, 1]}, {"<": [PLAN, 1]}, {"cat": [PLAN]}, {"in": [PLAN, ["a"]]}])
def test_a_value_that_is_not_json_raises(rule: Any) -> None:
    with pytest.raises(TypeError):
        holds(rule, plan=[b"x"])


def test_long_values_are_cut_in_errors() -> None:
    assert shown("x") == "'x'"
    assert len(shown("x" * 500)) == 100


def test_a_value_becomes_a_test() -> None:
    assert as_test(Node(lambda _context: "x"))({}) is True
    assert OPERATORS["if"].arity() == "2 to more arguments"


@pytest.mark.parametrize(
    ("relation", "limit", "cause"),
    [("==", "1.0", "compares with one of = !="), (PLAN, "1.0", "compares with one of"), ("=", "one", "is no version")],
)
def test_versions_are_checked_when_the_rule_is_compiled(relation: Any, limit: str, cause: str) -> None:
    with pytest.raises(InvalidRule, match=cause):
        compile_rule({"sem_ver": [PLAN, relation, limit]})
