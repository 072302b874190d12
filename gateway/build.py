"""Which form of the request path runs: compiled with mypyc (`make compile`) or interpreted."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def is_compiled() -> bool:
    """Whether requests run through extension modules. They are built together, so one speaks for all."""
    found = find_spec("gateway.exchange")
    return found is not None and str(found.origin).endswith(tuple(EXTENSION_SUFFIXES))


def form() -> str:
    """As people read it."""
    return "compiled" if is_compiled() else "interpreted"
