"""Compressed answers although none were asked for: decoded as they come, and never beyond a limit."""

from __future__ import annotations

import zlib

_MEMBERS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""Content codings that are understood, and zlib's `wbits` for each."""
_GZIP_MAGIC = b"\x1f\x8b"


class InflateError(ValueError):
    """The body can't be decoded: another coding, damaged, or cut."""


class InflateTooLargeError(ValueError):
    """The decoded body would be larger than allowed."""


class Inflater:
    """Decodes one body; what it has decoded so far is never more than `max_bytes`."""

    __slots__ = ("_begun", "_coding", "_left", "_zlib")

    def __init__(self, coding: bytes, max_bytes: int) -> None:
        """Raise `InflateError` for a coding other than gzip and deflate."""
        self._coding = coding.strip().lower()
        if self._coding not in _MEMBERS:
            raise InflateError("the answer has a content coding that was not asked for")
        self._zlib = zlib.decompressobj(_MEMBERS[self._coding])
        self._left = max_bytes
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What `data` (any piece of the body) adds. Raises `InflateError`, `InflateTooLargeError`."""
        decoded = []
        while data:
            self._begun = True
            if self._zlib.eof:
                self._begin_member(data)
            try:
                # One more than may come: a body of exactly the limit is no bomb.
                decoded.append(self._zlib.decompress(data, self._left + 1))
            except zlib.error as error:
                raise InflateError(f"the answer's compressed body is damaged: {error}") from None
            self._left -= len(decoded[-1])
            if self._left < 0 or self._zlib.unconsumed_tail:
                raise InflateTooLargeError("the decoded answer is larger than the limit")
            data = self._zlib.unused_data
        return b"".join(decoded)

    def end(self) -> None:
        """The body has ended; raises `InflateError` if it was not whole."""
        if self._begun and not self._zlib.eof:
            raise InflateError("the answer's compressed body was cut")

    def _begin_member(self, data: bytes) -> None:
        """A gzip body may be several members in a row; anything else after the end is damage."""
        if self._coding == b"deflate" or not _GZIP_MAGIC.startswith(data[:2]):
            raise InflateError("there is more after the end of the answer's compressed body")
        self._zlib = zlib.decompressobj(_MEMBERS[self._coding])
