"""A subset of JsonLogic: strict when compiled, a tree of closures when evaluated.

Evaluation gives what openfeature-flagd-core 2.0.0 gives for the same rule and context. Rules are smaller than flagd's:
names of attributes are plain words, lists stand only where something is looked for in them, every operator gets the
number of arguments it uses, and depth and size are bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, NoReturn

from rollout.core.errors import nearest_names
from rollout.core.jsonlogic_operators import OPERATORS, Context, InvalidRule, Node, Term, as_test, shown

__all__ = ["Context", "InvalidRule", "Rule", "compile_rule"]

DEPTH_MAX = 16
NODES_MAX = 2_000
TEXT_MAX_CHARS = 512
INTEGER_MAX = 2**53
"""Beyond, JSON readers disagree about integers."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Rule(NamedTuple):
    """A compiled rule. `holds` may raise for values that are not JSON; `names`: the attributes it reads.

    `root`: what it was compiled to, for `rule_code`.
    """

    holds: Callable[[Context], bool]
    names: frozenset[str]
    root: Node


def compile_rule(rule: object) -> Rule:
    """Compile a rule (the tree of its JSON); InvalidRule for anything that is not in the subset."""
    reader = _Reader()
    if not isinstance(rule, Mapping):
        raise InvalidRule('a rule is an object with one operator, as {"==": [{"var": "plan"}, "pro"]}')
    root = reader.read(rule, 1)
    return Rule(as_test(root), frozenset(reader.names), root)


class _Reader:
    """Reads one rule, counting what it has read."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._nodes = 0

    def read(self, raw: object, depth: int) -> Node:
        self._count(1, depth)
        return self._operation(raw, depth) if isinstance(raw, Mapping) else _constant(_scalar(raw))

    def _count(self, nodes: int, depth: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise InvalidRule(f"a rule has at most {NODES_MAX} parts")
        if depth > DEPTH_MAX:
            raise InvalidRule(f"a rule is nested at most {DEPTH_MAX} deep")

    def _operation(self, raw: Mapping[object, object], depth: int) -> Node:
        if len(raw) != 1:
            raise InvalidRule(f"each object of a rule has exactly one operator, not {len(raw)}")
        name, given = next(iter(raw.items()))
        arguments = list(given) if isinstance(given, (list, tuple)) else [given]
        if name == "var":
            return self._variable(arguments)
        found = OPERATORS.get(name) if isinstance(name, str) else None
        if found is None:
            _refuse_operator(name)
        if not found.least <= len(arguments) <= found.most:
            raise InvalidRule(f"{name!r} takes {found.arity()}, not {len(arguments)}")
        return found.build([self._operand(each, depth, name, place) for place, each in enumerate(arguments)])

    def _operand(self, raw: object, depth: int, operation: object, place: int) -> Node:
        if operation == "in" and place == 1 and isinstance(raw, (list, tuple)):
            self._count(len(raw) + 1, depth)
            return _constant(tuple(_scalar(item) for item in raw))
        return self.read(raw, depth + 1)

    def _variable(self, arguments: list[object]) -> Node:
        name = arguments[0] if arguments else None
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(arguments) > 2:  # noqa: PLR2004
            raise InvalidRule(
                "'var' takes the name of an attribute (a small letter, then small letters, digits and '_') "
                f"and perhaps a default, not {shown(arguments)}"
            )
        self.names.add(name)
        default = _scalar(arguments[1]) if len(arguments) > 1 else None
        if default is not None:
            return Node(_with_default(name, default))
        return Node(lambda context: context.get(name), name=name)


def _refuse_operator(name: object) -> NoReturn:
    known = ["var", *OPERATORS]
    nearest = nearest_names(str(name), known)
    meant = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
    raise InvalidRule(f"there is no operator {shown(name)}; {meant}")


def _scalar(raw: object) -> str | bool | float | None:
    """Check a literal."""
    if isinstance(raw, str):
        if len(raw) > TEXT_MAX_CHARS:
            raise InvalidRule(f"a text of a rule has at most {TEXT_MAX_CHARS} characters")
    elif isinstance(raw, int):
        if abs(raw) > INTEGER_MAX:
            raise InvalidRule(f"{shown(raw)} is too large for an integer of a rule")
    elif raw is not None and not (isinstance(raw, float) and math.isfinite(raw)):
        hint = "; a list may only be what 'in' looks into" if isinstance(raw, (list, tuple)) else ""
        raise InvalidRule(f"{shown(raw)} can't stand in a rule{hint}")
    return raw


def _constant(value: object) -> Node:
    return Node(lambda _context: value, constant=True, literal=value)


def _with_default(name: str, default: object) -> Term:
    def read(context: Context) -> object:
        value = context.get(name)
        return default if value is None else value

    return read
