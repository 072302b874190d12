"""Lengths of time as operators write them: "90d", "24h", "10m", "30s"."""

import re

from rollout.core.errors import InvalidArgument

_UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_PATTERN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds; InvalidArgument unless it is a whole number and one of the units s, m, h, d."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a length of time", 'write it as "90d", "24h", "10m" or "30s"')
    return float(int(match[1]) * _UNIT_S[match[2]])
