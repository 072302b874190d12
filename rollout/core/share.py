"""Shares are integers in thousandths of a percent; people write them as percentages."""

import re

from rollout.core.errors import InvalidArgument
from rollout.core.model import BUCKETS

_PERCENT = re.compile(r"([0-9]{1,3})(?:%|\.([0-9]{1,3})%)?")


def parse_share(text: str) -> int:
    """Read "25%", "25", "12.5%" or "0.001%" as millipct; InvalidArgument for anything else.

    A decimal needs its sign: "0.25" could be meant as a quarter of the traffic or of a percent.
    """
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a share", 'write a percentage with at most three decimals, as "12.5%"')
    millipct = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))
    if millipct > BUCKETS:
        raise InvalidArgument(f"{text!r} is more than 100%", "a share is between 0% and 100%")
    return millipct


def format_share(millipct: int) -> str:
    """Write millipct as the shortest exact percentage: 12500 -> "12.5%"."""
    whole, thousandths = divmod(millipct, 1000)
    decimals = f"{thousandths:03d}".rstrip("0")
    return f"{whole}.{decimals}%" if decimals else f"{whole}%"
