"""US dollars as operators write them, and millionths of a dollar as they are counted."""

import math
import re

from rollout.core.errors import InvalidArgument

MICROUSD = 1_000_000
_WHOLE_FROM = 10_000
_DIGITS = 3
_DECIMALS_MAX = 12
_PATTERN = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?", re.ASCII)


def parse_usd(text: str) -> int:
    """Millionths of a dollar in "12.50"; InvalidArgument for anything finer, signed or else."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not an amount of US dollars", 'write it as "250" or "12.50"')
    return int(match[1]) * MICROUSD + int((match[2] or "").ljust(6, "0"))


def format_usd(microusd: int) -> str:
    """As `parse_usd` reads it, with as few decimals as are exact."""
    whole, rest = divmod(microusd, MICROUSD)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


def shown_usd(usd: float) -> str:
    """For people: "$12,346", "$1,234.57", or three digits that say something, as "-$0.00123"."""
    amount, sign = abs(usd), "-" if usd < 0 else ""
    if not amount:
        return "$0"
    if amount >= _WHOLE_FROM:
        return f"{sign}${amount:,.0f}"
    if amount >= 1:
        return f"{sign}${amount:,.2f}"
    decimals = min(_DECIMALS_MAX, _DIGITS - 1 - math.floor(math.log10(amount)))
    return f"{sign}${amount:.{decimals}f}"
