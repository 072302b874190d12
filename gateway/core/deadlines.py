"""How long an attempt and a whole exchange may take: the operator's bounds, which a caller may tighten."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.errors import bad_body

if TYPE_CHECKING:
    from collections.abc import Mapping

TOTAL_HEADER = b"x-glidepath-timeout-s"
FIRST_BYTE_HEADER = b"x-glidepath-first-byte-timeout-s"
_UNBOUNDED = float("inf")
_SECONDS = re.compile(rb"\d{1,6}(?:\.\d{1,6})?")


class Deadlines(NamedTuple):
    """Seconds: for the first byte of one attempt, between two reads, from arrival to the end of the whole exchange."""

    first_byte_s: float
    idle_s: float
    total_s: float


def asked(headers: Mapping[bytes, bytes]) -> Deadlines | None:
    """What the caller asks for, None for nothing. Raises `ApiError` 400 for what is no number of seconds."""
    if TOTAL_HEADER not in headers and FIRST_BYTE_HEADER not in headers:
        return None
    return Deadlines(_seconds(headers, FIRST_BYTE_HEADER), _UNBOUNDED, _seconds(headers, TOTAL_HEADER))


def tighten(limits: Deadlines, wish: Deadlines | None) -> Deadlines:
    """`limits` as far as the caller didn't ask for less."""
    if wish is None:
        return limits
    return Deadlines(min(limits.first_byte_s, wish.first_byte_s), limits.idle_s, min(limits.total_s, wish.total_s))


def _seconds(headers: Mapping[bytes, bytes], name: bytes) -> float:
    value = headers.get(name)
    if value is None:
        return _UNBOUNDED
    if not _SECONDS.fullmatch(value) or not float(value):
        text = f"The header {name.decode()} is no number of seconds, such as 2.5."
        raise bad_body(text, param=name.decode(), code="invalid_header")
    return float(value)
