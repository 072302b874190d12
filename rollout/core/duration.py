"""Lengths of time as operators write them: "90d", "24h", "10m", "30s"."""

import re
from math import floor, isfinite

from rollout.core.errors import InvalidArgument

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WRITTEN = {"s": "s", "m": "min", "h": "h", "d": "d"}
_PAIRS = (("d", "h"), ("h", "m"), ("m", "s"))
_WHOLE_FROM_S = 10.0
_DAYS_MAX_S = 86_400.0 * 100_000
_PATTERN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds; InvalidArgument unless it is a whole number and one of the units s, m, h, d."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a length of time", 'write it as "90d", "24h", "10m" or "30s"')
    return float(int(match[1]) * _UNIT_S[match[2]])


def format_duration(seconds: float) -> str:
    """Write a length of time in at most two units, cut off and never rounded up: 4530 -> "1 h 15 min". Total."""
    if not isfinite(seconds):
        return "unknown"
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < _UNIT_S["m"]:
        return f"{floor(seconds * 10) / 10:g} s" if seconds < _WHOLE_FROM_S else f"{int(seconds)} s"
    if seconds >= _DAYS_MAX_S:
        return f"{seconds / _UNIT_S['d']:.3g} d"
    larger, smaller = next(pair for pair in _PAIRS if seconds >= _UNIT_S[pair[0]])
    whole, rest = divmod(int(seconds), _UNIT_S[larger])
    part = rest // _UNIT_S[smaller]
    return f"{whole} {_WRITTEN[larger]}" + (f" {part} {_WRITTEN[smaller]}" if part else "")
