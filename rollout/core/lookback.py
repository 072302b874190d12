"""How far into the past a PromQL expression looks by its own words: ranges, subqueries and offsets, nested ones added.

No parser of PromQL: it follows parentheses and what stands behind an operand, and takes the farthest of all operands.
What it can't follow looks back without end. The window of a recording rule is not in the expression and not seen.
"""

from __future__ import annotations

import math
import re

_DURATION = r"(?:[0-9]+(?:ms|[smhdwy]))+"
_TOKEN = re.compile(
    rf"""
      (?P<skip>\s+|\#[^\n]*)
    | (?P<range>\[\s*(?P<window>{_DURATION})\s*(?::\s*(?:{_DURATION})?\s*)?\])
    | (?P<offset>\boffset\s*(?P<sign>-?)\s*(?P<shift>{_DURATION})\b)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<unknown>[@\[\]])
    | (?P<other>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|[\w:.]+|.)
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII | re.DOTALL,
)
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])", re.IGNORECASE | re.ASCII)
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def lookback_s(expression: str) -> float:
    """Seconds; 0 when only the newest samples count, infinite when it can't be told."""
    levels = [_Level()]
    for token in _TOKEN.finditer(expression):
        kind = token.lastgroup
        if kind == "range":
            levels[-1].operand_s += _seconds(token["window"])
        elif kind == "offset":
            levels[-1].operand_s += 0 if token["sign"] else _seconds(token["shift"])
        elif kind == "unknown":
            return math.inf
        elif kind == "open":
            levels[-1].begin_operand()
            levels.append(_Level())
        elif kind == "close":
            if len(levels) == 1:
                return math.inf
            inner = levels.pop()
            levels[-1].operand_s = inner.farthest_s()
        elif kind == "other":
            levels[-1].begin_operand()
    return levels[0].farthest_s() if len(levels) == 1 else math.inf


class _Level:
    """What stands between two parentheses: the farthest of its operands, and the one that is being read."""

    def __init__(self) -> None:
        self._best_s = 0.0
        self.operand_s = 0.0

    def begin_operand(self) -> None:
        self._best_s, self.operand_s = self.farthest_s(), 0.0

    def farthest_s(self) -> float:
        return max(self._best_s, self.operand_s)


def _seconds(duration: str) -> float:
    return sum(int(number) * _UNIT_S[unit.lower()] for number, unit in _PART.findall(duration))
