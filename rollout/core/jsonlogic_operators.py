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


class InvalidRule(ValueError):  # noqa: N818  as the errors of rollout.core.errors: named for what is wrong
    """A rule outside the subset; the text says where and why."""


class Node(NamedTuple):
    """One operand. `name`: of the attribute it is, if it is nothing else; `constant`: its value is `literal`."""

    term: Term
    boolean: bool = False
    constant: bool = False
    literal: Any = None
    name: str = ""


def shown(value: object) -> str:
    """Show a value in an error, cut to 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."  # noqa: PLR2004


def as_boolean(node: Node) -> Callable[[Context], bool]:
    """Make the closure that tells whether the node's value counts as true."""
    term: Callable[[Context], bool] = node.term
    return term if node.boolean else lambda context: truthy(term(context))


# Comparing an attribute with a literal is most of what rules do, so it is one closure.


def _equality(*, wanted: bool) -> Builder:
    def build(operands: list[Node]) -> Node:
        one, other = operands
        if one.constant:
            one, other = other, one
        if one.name and isinstance(other.literal, str):
            return Node(_is_text(one.name, other.literal, wanted=wanted), boolean=True)
        left, right = one.term, other.term
        return Node(lambda context: equal(left(context), right(context)) is wanted, boolean=True)

    return build


def _is_text(name: str, literal: str, *, wanted: bool) -> Term:
    def same(context: Context) -> bool:
        value = context.get(name)
        return (value == literal if value.__class__ is str else equal(value, literal)) is wanted

    return same


def _identity(compare: Callable[[object, object], bool]) -> Builder:
    def build(operands: list[Node]) -> Node:
        left, right = operands[0].term, operands[1].term
        if operands[0].name and operands[1].constant:
            name, literal = operands[0].name, operands[1].literal
            return Node(lambda context: compare(context.get(name), literal), boolean=True)
        return Node(lambda context: compare(left(context), right(context)), boolean=True)

    return build


def _order(compare: Callable[[Any, Any], bool]) -> Builder:
    def build(operands: list[Node]) -> Node:
        left, right = operands[0].term, operands[1].term
        limit = operands[-1].term if len(operands) > 2 else None  # noqa: PLR2004

        def in_order(context: Context) -> bool:
            middle = right(context)
            if not compare(*comparable(left(context), middle)):
                return False
            end = None if limit is None else limit(context)
            return end is None or compare(*comparable(middle, end))

        return Node(in_order, boolean=True)

    return build


def _negation(operands: list[Node]) -> Node:
    holds = as_boolean(operands[0])
    return Node(lambda context: not holds(context), boolean=True)


def _affirmation(operands: list[Node]) -> Node:
    return Node(as_boolean(operands[0]), boolean=True)


def _series(*, until: bool) -> Builder:
    """`or` ends at the first true operand, `and` at the first false one; either gives the last that it looked at."""

    def build(operands: list[Node]) -> Node:
        terms: tuple[Callable[[Context], object], ...] = tuple(each.term for each in operands)
        boolean = all(each.boolean for each in operands)

        def booleans(context: Context) -> bool:
            for term in terms:  # any() would make a generator for each evaluation
                if term(context) is until:
                    return until
            return not until

        def values(context: Context) -> object:
            value = None
            for term in terms:
                value = term(context)
                if truthy(value) is until:
                    break
            return value

        return Node(booleans if boolean else values, boolean)

    return build


def _choice(operands: list[Node]) -> Node:
    """`if`: condition, value, condition, value, ..., and perhaps a value for else."""
    ends_with_else = len(operands) % 2 == 1
    paired = operands[:-1] if ends_with_else else operands
    branches = tuple(zip(map(as_boolean, paired[::2]), (each.term for each in paired[1::2]), strict=True))
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
        return Node(lambda context: context.get(name) in members, boolean=True)
    what, where = needle.term, haystack.term
    return Node(lambda context: contains(what(context), where(context)), boolean=True)


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

        return Node(compare)

    return build


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
    "and": Operator(1, UNLIMITED, _series(until=False)),
    "or": Operator(1, UNLIMITED, _series(until=True)),
    "if": Operator(2, UNLIMITED, _choice),
    "in": Operator(2, 2, _membership),
    "cat": Operator(1, UNLIMITED, _joined),
    "starts_with": Operator(2, 2, _affix(str.startswith)),
    "ends_with": Operator(2, 2, _affix(str.endswith)),
    "sem_ver": Operator(3, 3, _version),
}
