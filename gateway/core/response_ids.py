"""Where a response is stored, said in its id: a conversation continued by `previous_response_id` must go back there.

A response lives with the upstream (on vLLM: the replica) that made it, and any other answers 404. So the ids that
callers get carry the place, `<id>.gp.<upstream>.<endpoint>`; it is taken off again before an upstream sees it. Nothing
is remembered, so it holds over workers, replicas and restarts. A forged place gains nothing: it must be one of the
feature's two upstreams, and the tenant's rules apply all the same.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

_PLACED = re.compile(r"(.{1,512})\.gp\.([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.([0-9a-f]{6})")
_RESPONSE_ID = re.compile(rb'"id"\s*:\s*"(resp_[A-Za-z0-9_-]{1,512})"')
_MARK_BYTES = 3


class Place(NamedTuple):
    """An upstream by name, and which of its endpoints (`mark_of` its URL); empty for what was not made here."""

    upstream: str = ""
    mark: str = ""


ELSEWHERE = Place()


def mark_of(url: str) -> str:
    """Short name of an endpoint that survives reordering the configuration."""
    return blake2b(url.encode(), digest_size=_MARK_BYTES).hexdigest()


def placed(response_id: str, place: Place) -> str:
    """The id as the caller gets it."""
    return f"{response_id}.gp.{place.upstream}.{place.mark}"


def split(response_id: str) -> tuple[str, Place]:
    """The upstream's own id, and where the response is; `ELSEWHERE` for an id that was not made here."""
    match = _PLACED.fullmatch(response_id)
    if match is None:
        return response_id, ELSEWHERE
    own, upstream, mark = match.groups()
    return own, Place(upstream, mark)


class IdRewriter:
    """Puts the place into the id of one response, wherever it stands in the answer, and of the one it continues.

    `previous`: the id without its place that the upstream was asked to continue, as JSON; empty if the caller's had
    none, so that callers read back what they sent.
    """

    __slots__ = ("_own", "_place", "_previous", "_previous_placed", "_replacement")

    def __init__(self, place: Place, previous: bytes = b"") -> None:
        self._place = place
        self._own: re.Pattern[bytes] | None = None
        self._replacement = b""
        self._previous: re.Pattern[bytes] | None = None
        self._previous_placed = b""
        if previous:
            self._previous = re.compile(rb'"previous_response_id"\s*:\s*%b' % re.escape(previous))
            self._previous_placed = b'"previous_response_id":"%b"' % placed(previous[1:-1].decode(), place).encode()

    def rewrite(self, data: bytes) -> bytes:
        """`data`: a whole answer, or whole events. The first response id met is that of this response."""
        data = self._rewrite_own(data)
        return data if self._previous is None else self._previous.sub(lambda _: self._previous_placed, data)

    def _rewrite_own(self, data: bytes) -> bytes:
        own = self._own
        if own is None:
            match = _RESPONSE_ID.search(data)
            if match is None:
                return data
            name = match.group(1)
            # Inside generated text the quotes would be escaped, so it can't be taken for the field.
            own = self._own = re.compile(rb'"id"\s*:\s*"%b"' % re.escape(name))
            self._replacement = b'"id":"%b"' % placed(name.decode("ascii"), self._place).encode("ascii")
        return own.sub(self._replacement, data)
