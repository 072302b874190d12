"""What a caller is told of its limits: the 429 that names one, and the `x-ratelimit-*` lines of every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.admission.gate import EXHAUSTED, TOO_LARGE
from gateway.core.errors import ApiError

if TYPE_CHECKING:
    from gateway.core.admission.gate import Refusal, Subject
    from gateway.core.admission.limits import Quantity
    from gateway.core.admission.meter import Meter

_REQUEST_LINES, _TOKEN_LINES = (
    b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n" % ((name,) * 3)
    for name in (b"requests", b"tokens")
)
_MINUTE_S = 60
_DURATIONS = (*(b"%ds" % second for second in range(_MINUTE_S)), b"1m0s")
"""Whole seconds as OpenAI writes them; no window that is shown is longer than a minute."""
_MICROUSD_PER_USD = 1_000_000
_CODES: dict[Quantity, str] = {
    "requests": "rate_limit_exceeded",
    "tokens": "rate_limit_exceeded",
    "budget": "insufficient_quota",
    "concurrent": "too_many_concurrent_requests",
}
_UNITS: dict[Quantity, str] = {
    "requests": "{} requests per minute",
    "tokens": "{} tokens per minute",
    "budget": "a budget of ${} per day (UTC)",
    "concurrent": "{} requests at a time",
}
_EXHAUSTED: dict[Quantity, str] = {
    "requests": "all used up. Try again in {} s.",
    "tokens": "all used up. Try again in {} s.",
    "budget": "it is spent, or reserved by requests under way, until midnight UTC.",
    "concurrent": "all in use. Try again in {} s.",
}


def refused(refusal: Refusal) -> ApiError:
    """429: whose limit, of what, how much, and when to come back.

    Only a budget that is known to be spent is called `insufficient_quota`: SDKs and people take that as final.
    """
    quantity = refusal.quantity
    limit = f"The {refusal.scope} `{refusal.subject}` has {_UNITS[quantity].format(_shown(quantity, refusal.limit))}"
    if refusal.cause == TOO_LARGE:
        text = f"{limit}; this request alone may take {_shown(quantity, refusal.amount)}. Ask for a shorter answer."
        return _too_many(text, quantity, _CODES[quantity], refusal.retry_after_s)
    if refusal.cause == EXHAUSTED:
        text = f"{limit}: {_EXHAUSTED[quantity].format(refusal.retry_after_s)}"
        return _too_many(text, quantity, _CODES[quantity], refusal.retry_after_s)
    text = f"{limit}: the gateway must see first what is left of it. Try again in {refusal.retry_after_s} s."
    code = "rate_limit_exceeded" if quantity == "budget" else _CODES[quantity]
    return _too_many(text, "requests" if quantity == "budget" else quantity, code, refusal.retry_after_s)


def is_final(refusal: Refusal) -> bool:
    """Whether the same request would be refused again whenever it came (`x-should-retry: false`)."""
    return refusal.cause == TOO_LARGE


def ratelimit_lines(subject: Subject, now_s: float) -> bytes:
    """Header lines of the rates that limit this caller, the tighter of key and tenant. `now_s`: Unix time."""
    lines = b""
    if subject.requests:
        lines = _lines(_REQUEST_LINES, subject.requests, now_s)
    if subject.tokens:
        lines += _lines(_TOKEN_LINES, subject.tokens, now_s)
    return lines


def _lines(template: bytes, meters: tuple[Meter, ...], now_s: float) -> bytes:
    meter = meters[0]
    if now_s >= meter.until_s:
        meter.roll(now_s)
    left = meter.remaining
    for other in meters[1:]:
        if now_s >= other.until_s:
            other.roll(now_s)
        other_left = other.remaining
        if other_left < left:
            meter, left = other, other_left
    # Seconds are rounded up. More than a minute is left only after the clock was set back.
    return template % (meter.limit, left, _DURATIONS[min(_MINUTE_S, int(meter.until_s - now_s) + 1)])


def _too_many(text: str, quantity: Quantity, code: str, retry_after_s: int) -> ApiError:
    kind = "insufficient_quota" if quantity == "budget" else "rate_limit_error"
    return ApiError(429, text, kind, code=code, retry_after_s=retry_after_s)


def _shown(quantity: Quantity, amount: int) -> str:
    """An amount in the unit of the message: dollars for budgets."""
    if quantity != "budget":
        return str(amount)
    dollars = f"{amount / _MICROUSD_PER_USD:.6f}".rstrip("0").rstrip(".")
    whole, _, cents = dollars.partition(".")
    return f"{whole}.{cents:0<2}" if cents else whole
