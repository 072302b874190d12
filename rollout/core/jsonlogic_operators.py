"""The operators of rules: each builds one closure from the closures of its operands."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rollout.core import semver
from rollout.core.coercion import comparable, contains, equal, to_text, truthy

UNLIMITED = 10**6

Context = Mapping[str, object]
Term = Callable[[Context], Any]
Test = Callable[[Context], bool]


class InvalidRule(ValueError):  # noqa: N818  as the errors of rollout.core.errors: named for what is wrong
    """A rule outside the subset; the text says where and why."""


class Node(NamedTuple):
    """One operand: `term` gives its value, `test` whether that counts as true (None: nothing quicker than asking term).

    `name`: of the attribute it is, if it is nothing else; `constant`: its value is `literal`.
    """

    term: Term
    test: Test | None = None
    constant: bool = False
    literal: Any = None
    name: str = ""


def shown(value: object) -> str:
    """Show a value in an error, cut to 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."  # noqa: PLR2004


def as_test(node: Node) -> Test:
    """Make the closure that tells whether the node's value counts as true."""
    if node.test is not None:
        return node.test
    term = node.term
    return lambda context: truthy(term(context))


def _truth(test: Test) -> Node:
    """Make a node whose value is true or false."""
    return Node(test, test)


# Comparing an attribute with a literal is most of what rules do: it is one closure, and values of the literal's type
# are compared without asking for theirs twice.


def _equality(*, wanted: bool) -> Builder:
    def build(operands: list[Node]) -> Node:
        one, other = operands
        if one.constant:
            one, other = other, one
        if one.name and isinstance(other.literal, str):
            return _truth((_is_text if wanted else _is_other_text)(one.name, other.literal))
        left, right = one.term, other.term
        return _truth(lambda context: equal(left(context), right(context)) is wanted)

    return build


def _is_text(name: str, literal: str) -> Test:
    def same(context: Context) -> bool:
        value = context.get(name)
        if value.__class__ is str:
            return value == literal
        return equal(value, literal)

    return same


def _is_other_text(name: str, literal: str) -> Test:
    def differs(context: Context) -> bool:
        value = context.get(name)
        if value.__class__ is str:
            return value != literal
        return not equal(value, literal)

    return differs


def _identity(compare: Callable[[object, object], bool]) -> Builder:
    def build(operands: list[Node]) -> Node:
        left, right = operands[0].term, operands[1].term
        if operands[0].name and operands[1].constant:
            name, literal = operands[0].name, operands[1].literal
            return _truth(lambda context: compare(context.get(name), literal))
        return _truth(lambda context: compare(left(context), right(context)))

    return build


def _order(compare: Callable[[Any, Any], bool]) -> Builder:
    def build(operands: list[Node]) -> Node:
        left, right = operands[0], operands[1]
        if len(operands) > 2:  # noqa: PLR2004
            return _truth(_between(compare, left.term, right.term, operands[2].term))
        if left.name and isinstance(right.literal, (str, int, float)):
            return _truth(_against(compare, left.name, right.literal))
        one, other = left.term, right.term
        return _truth(lambda context: compare(*comparable(one(context), other(context))))

    return build


def _against(compare: Callable[[Any, Any], bool], name: str, literal: str | float) -> Test:
    alike = literal.__class__

    def in_order(context: Context) -> bool:
        value = context.get(name)
        if value.__class__ is alike:
            return compare(value, literal)
        return compare(*comparable(value, literal))

    return in_order


def _between(compare: Callable[[Any, Any], bool], left: Term, right: Term, limit: Term) -> Test:
    def in_order(context: Context) -> bool:
        middle = right(context)
        if not compare(*comparable(left(context), middle)):
            return False
        end = limit(context)
        return end is None or compare(*comparable(middle, end))

    return in_order


def _negation(operands: list[Node]) -> Node:
    holds = as_test(operands[0])
    return _truth(lambda context: not holds(context))


def _affirmation(operands: list[Node]) -> Node:
    return _truth(as_test(operands[0]))


def _any(operands: list[Node]) -> Node:
    """`or`: the first true value, else the last one."""
    terms, tests = tuple(each.term for each in operands), tuple(map(as_test, operands))

    def is_any(context: Context) -> bool:
        for test in tests:  # noqa: SIM110  any() would make a generator for each evaluation
            if test(context):
                return True
        return False

    def first(context: Context) -> object:
        value = None
        for term in terms:
            value = term(context)
            if truthy(value):
                break
        return value

    return Node(first, is_any)


def _all(operands: list[Node]) -> Node:
    """`and`: the first false value, else the last one."""
    terms, tests = tuple(each.term for each in operands), tuple(map(as_test, operands))

    def are_all(context: Context) -> bool:
        for test in tests:  # noqa: SIM110  as in is_any
            if not test(context):
                return False
        return True

    def first(context: Context) -> object:
        value = None
        for term in terms:
            value = term(context)
            if not truthy(value):
                break
        return value

    return Node(first, are_all)


def _choice(operands: list[Node]) -> Node:
    """`if`: condition, value, condition, value, ..., and perhaps a value for else."""
    ends_with_else = len(operands) % 2 == 1
    paired = operands[:-1] if ends_with_else else operands
    branches = tuple(zip(map(as_test, paired[::2]), (each.term for each in paired[1::2]), strict=True))
    otherwise = operands[-1].term if ends_with_else else None

    def choose(context: Context) -> object:
        for holds, value in branches:
            if holds(context):
                return value(context)
        return None if otherwise is None else otherwise(context)

    return Node(choose)


def _membership(operands: list[Node]) -> Node:
    needle, haystack = operands
    if needle.name and isinstance(haystack.literal, tuple):
        name, members = needle.name, frozenset(haystack.literal)
        return _truth(lambda context: context.get(name) in members)
    what, where = needle.term, haystack.term
    return _truth(lambda context: contains(what(context), where(context)))


def _joined(operands: list[Node]) -> Node:
    terms = tuple(each.term for each in operands)
    return Node(lambda context: "".join([to_text(term(context)) for term in terms]))


def _affix(matches: Callable[[str, str], bool]) -> Builder:
    """`starts_with` or `ends_with`; null when an argument is not text."""

    def build(operands: list[Node]) -> Node:
        left, right = operands[0].term, operands[1].term

        def compare(context: Context) -> bool | None:
            text, affix = left(context), right(context)
            return matches(text, affix) if isinstance(text, str) and isinstance(affix, str) else None

        if operands[0].name and isinstance(operands[1].literal, str):
            return Node(compare, _affixed(matches, operands[0].name, operands[1].literal))
        return Node(compare)

    return build


def _affixed(matches: Callable[[str, str], bool], name: str, literal: str) -> Test:
    def test(context: Context) -> bool:
        value = context.get(name)
        return isinstance(value, str) and matches(value, literal)

    return test


def _version(operands: list[Node]) -> Node:
    """`sem_ver`; null when an argument is no version, which for a literal is refused at once."""
    given, relation, limit = operands
    compare = semver.OPERATORS.get(relation.literal) if isinstance(relation.literal, str) else None
    if compare is None:
        raise InvalidRule(f"'sem_ver' compares with one of {' '.join(semver.OPERATORS)}")
    fixed = semver.parse(limit.literal) if limit.constant else None
    if limit.constant and fixed is None:
        raise InvalidRule(f"{shown(limit.literal)} is no version")
    left, right = given.term, limit.term

    def holds(context: Context) -> bool | None:
        one, other = semver.parse(left(context)), fixed or semver.parse(right(context))
        return None if one is None or other is None else compare(one, other)

    return Node(holds)


Builder = Callable[[list[Node]], Node]


class Operator(NamedTuple):
    """How many operands an operator takes, and what it makes of them."""

    least: int
    most: int
    build: Builder

    def arity(self) -> str:
        """Say how many operands it takes."""
        most = "more" if self.most == UNLIMITED else str(self.most)
        number = str(self.least) if self.least == self.most else f"{self.least} to {most}"
        return f"{number} argument{'' if number == '1' else 's'}"


OPERATORS: dict[str, Operator] = {
    "==": Operator(2, 2, _equality(wanted=True)),
    "!=": Operator(2, 2, _equality(wanted=False)),
    "===": Operator(2, 2, _identity(operator.eq)),
    "!==": Operator(2, 2, _identity(operator.ne)),
    "<": Operator(2, 3, _order(operator.lt)),
    "<=": Operator(2, 3, _order(operator.le)),
    ">": Operator(2, 3, _order(operator.gt)),
    ">=": Operator(2, 3, _order(operator.ge)),
    "!": Operator(1, 1, _negation),
    "!!": Operator(1, 1, _affirmation),
    "and": Operator(1, UNLIMITED, _all),
    "or": Operator(1, UNLIMITED, _any),
    "if": Operator(2, UNLIMITED, _choice),
    "in": Operator(2, 2, _membership),
    "cat": Operator(1, UNLIMITED, _joined),
    "starts_with": Operator(2, 2, _affix(str.startswith)),
    "ends_with": Operator(2, 2, _affix(str.endswith)),
    "sem_ver": Operator(3, 3, _version),
}
