"""A rule as one Python function instead of a tree of closures: each attribute is read once, nothing is called for it.

Only the commonest operators have code; for the others the function calls their closures. What a rule's author wrote
gets into the function's text as literals, and as names of attributes, which are plain words.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rollout.core.coercion import comparable, equal, truthy
from rollout.core.jsonlogic_operators import code_of

if TYPE_CHECKING:
    from rollout.core.jsonlogic_operators import Code, Node
    from rollout.core.model import Subject

Admits = Callable[["Subject"], bool]
_KEPT = 512
_PARTS = ("conversation", "user", "tenant", "request")
"""Of a subject, in its order."""
_CALLED = {
    "equal": equal,
    "truthy": truthy,
    "comparable": comparable,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def admitting(root: Node, feature: str, context_of: Callable[[str, Subject], object] | None) -> Admits:
    """Make the function subject -> whether the rule holds.

    `context_of` gives what the rule's closures read, None if they read nothing but the attributes.
    """
    code = code_of(root)
    return _maker(_text(code, whole=context_of is not None))(feature, context_of, *code.closures)


def _text(code: Code, *, whole: bool) -> str:
    closures = "".join(f", call{place}" for place in range(len(code.closures)))
    lines = [f"def make(feature, context_of{closures}):", " def admits(subject):", "  context = subject[4]"]
    if code.names:
        lines.append("  get = context.get")
    lines += [f"  v_{name} = {_reading(name)}" for name in sorted(code.names)]
    if whole and code.closures:
        lines.append("  context = context_of(feature, subject)")
    first, *others = code.text.split("@")
    expression = first + "".join(f"call{place}(context){piece}" for place, piece in enumerate(others))
    return "\n".join([*lines, f"  return {expression}", " return admits"])


def _reading(name: str) -> str:
    if name == "feature":
        return "feature"
    return f"subject[{_PARTS.index(name)}] or None" if name in _PARTS else f'get("{name}")'


@lru_cache(_KEPT)
def _maker(text: str) -> Callable[..., Admits]:
    """Compile once for all features and all versions of a document that have the same rule."""
    made: dict[str, Any] = dict(_CALLED)
    exec(text, made)  # noqa: S102  nothing in it but templates, plain words and literals
    make: Callable[..., Admits] = made["make"]
    return make
