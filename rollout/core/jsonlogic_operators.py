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


class Code(NamedTuple):
    """A test as a Python expression: `v_<name>` are attributes' values, each `@` calls the next closure."""

    text: str
    names: frozenset[str]
    closures: tuple[Test, ...] = ()


class Node(NamedTuple):
    """One operand: `term` gives its value, `test` whether that counts as true (None: nothing quicker than asking term).

    `name`: of the attribute it is, if it is nothing else; `constant`: its value is `literal`; `code`: says the same as
    `test`.
    """

    term: Term
    test: Test | None = None
    constant: bool = False
    literal: Any = None
    name: str = ""
    code: Code | None = None


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


def code_of(node: Node) -> Code:
    """Give the node's test as code; where it has none of its own, that is a call of the closure."""
    if node.code is not None:
        return node.code
    if node.name:
        return _code(f"truthy(v_{node.name})", node.name)
    return Code("@", frozenset(), (as_test(node),))


def _code(text: str, name: str) -> Code:
    return Code(text, frozenset((name,)))


def _in_code(literal: str | float | None) -> str:
    """Write a literal as Python does; no `@` is left in it."""
    return repr(literal).replace("@", "\\x40")


def _joined_code(word: str, operands: list[Node]) -> Code:
    codes = [code_of(each) for each in operands]
    return Code(
        f"({f' {word} '.join([each.text for each in codes])})",
        frozenset().union(*[each.names for each in codes]),
        tuple(closure for each in codes for closure in each.closures),
    )


def _truth(test: Test, code: Code | None = None) -> Node:
    """Make a node whose value is true or false."""
    return Node(test, test, code=code)


# Comparing an attribute with a literal is most of what rules do: it is one closure, and values of the literal's type
# are compared without asking for theirs twice.


def _equality(*, wanted: bool) -> Builder:
    def build(operands: list[Node]) -> Node:
        one, other = operands
        if one.constant:
            one, other = other, one
        if one.name and isinstance(other.literal, str):
            test = (_is_text if wanted else _is_other_text)(one.name, other.literal)
            return _truth(test, _equality_code(one.name, other.literal, wanted=wanted))
        left, right = one.term, other.term
        return _truth(lambda context: equal(left(context), right(context)) is wanted)

    return build


def _equality_code(name: str, literal: str, *, wanted: bool) -> Code:
    # A text that is no attribute's value is compared again only if that is no text.
    text = _in_code(literal)
    same = f"(v_{name} == {text} or v_{name}.__class__ is not str and equal(v_{name}, {text}))"
    return _code(same if wanted else f"(not {same})", name)


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
            test = _against(compare, left.name, right.literal)
            return _truth(test, _order_code(compare.__name__, left.name, right.literal))
        one, other = left.term, right.term
        return _truth(lambda context: compare(*comparable(one(context), other(context))))

    return build


def _order_code(compare: str, name: str, literal: str | float) -> Code:
    text, alike = _in_code(literal), literal.__class__.__name__
    alike_in_order = f"v_{name} {_SIGNS[compare]} {text} if v_{name}.__class__ is {alike}"
    return _code(f"({alike_in_order} else {compare}(*comparable(v_{name}, {text})))", name)


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
    holds, code = as_test(operands[0]), code_of(operands[0])
    return _truth(lambda context: not holds(context), code._replace(text=f"(not {code.text})"))


def _affirmation(operands: list[Node]) -> Node:
    return _truth(as_test(operands[0]), code_of(operands[0]))


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

    return Node(first, is_any, code=_joined_code("or", operands))


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

    return Node(first, are_all, code=_joined_code("and", operands))


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
        text = f"{{{', '.join(map(_in_code, haystack.literal))}}}" if members else "set()"
        return _truth(lambda context: context.get(name) in members, _code(f"(v_{name} in {text})", name))
    what, where = needle.term, haystack.term
    return _truth(lambda context: contains(what(context), where(context)))


def _joined(operands: list[Node]) -> Node:
    terms = tuple(each.term for each in operands)
    return Node(lambda context: "".join([to_text(term(context)) for term in terms]))


def _affix(matches: Callable[[str, str], bool]) -> Builder:
    """`starts_with` or `ends_with`; null when an argument is not text."""
    method = matches.__name__

    def build(operands: list[Node]) -> Node:
        left, right = operands[0].term, operands[1].term

        def compare(context: Context) -> bool | None:
            text, affix = left(context), right(context)
            return matches(text, affix) if isinstance(text, str) and isinstance(affix, str) else None

        if operands[0].name and isinstance(operands[1].literal, str):
            name, literal = operands[0].name, operands[1].literal
            is_text = f"(v_{name}.__class__ is str or isinstance(v_{name}, str))"
            code = _code(f"({is_text} and v_{name}.{method}({_in_code(literal)}))", name)
            return Node(compare, _affixed(matches, name, literal), code=code)
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
_SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}


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
