"""What a request's head has to say to each kind of upstream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ANTHROPIC_VERSION = b"2023-06-01"
_PLAIN = re.compile(rb"[A-Za-z0-9 ,._-]{1,512}")
_CREDENTIALS = {"azure": "api-key: {}\r\n", "anthropic": "x-api-key: {}\r\n"}
_BASE_PATHS = {"azure": "/openai/v1", "anthropic": "/v1"}


def credentials_lines(kind: str, api_key: str | None) -> str:
    """Header lines that hold the upstream's key; empty without one."""
    return _CREDENTIALS.get(kind, "authorization: Bearer {}\r\n").format(api_key) if api_key else ""


def base_path(kind: str, path: str) -> str:
    """Path in front of every route of an upstream, from its base URL; where that has none, the kind's usual one."""
    return path.rstrip("/") or _BASE_PATHS.get(kind, "")


def passed_lines(operation: str, kind: str, headers: Mapping[bytes, bytes]) -> bytes:
    """Header lines about Anthropic's protocol: the caller's own for messages that pass as they are, else the default.

    A beta a caller named would change a translated answer in ways the translation doesn't know.
    """
    if kind != "anthropic":
        return b""
    native = operation == "messages"
    version = headers.get(b"anthropic-version", b"") if native else b""
    beta = headers.get(b"anthropic-beta", b"") if native else b""
    lines = b"anthropic-version: %b\r\n" % (version if _PLAIN.fullmatch(version) else ANTHROPIC_VERSION)
    return lines + (b"anthropic-beta: %b\r\n" % beta if _PLAIN.fullmatch(beta) else b"")
