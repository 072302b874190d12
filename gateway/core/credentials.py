"""Where a caller puts its key: `Authorization: Bearer`, `x-api-key` (Anthropic SDKs), `api-key` (Azure SDKs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BEARER = b"bearer "
_BEARER_BYTES = len(_BEARER)


def presented(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key in the headers (names in lower case); None when there is none, or when two headers disagree."""
    authorization = headers.get(b"authorization")
    if b"x-api-key" not in headers and b"api-key" not in headers:
        return None if authorization is None else _bearer(authorization)
    given = {headers[name].strip() for name in (b"x-api-key", b"api-key") if name in headers}
    if authorization is not None:
        given.add(_bearer(authorization) or b"")
    return given.pop() if len(given) == 1 else None


def merged(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header lines by name; the different values of a repeated one are joined by commas, which makes them no key."""
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        before = headers.setdefault(name, value)
        if before != value:
            headers[name] = b"%b, %b" % (before, value)
    return headers


def _bearer(authorization: bytes) -> bytes | None:
    if authorization[:_BEARER_BYTES].lower() != _BEARER:
        return None
    return authorization[_BEARER_BYTES:].strip()
