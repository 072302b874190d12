"""What translations of streams have in common: framing, breaking off, and never ending in success too early."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.core.errors import ApiError
from gateway.core.events import events_of, payload_of, split_whole
from gateway.core.providers.error_shapes import said_in, stream_error

if TYPE_CHECKING:
    import msgspec

    from gateway.core.sse import Usage


class UnreadableEventError(ValueError):
    """An event that can't be translated; leaving it out could leave out text."""


class Translated:
    """A `View` that translates. A subclass says what one event becomes (`_take`) and how a stream ends (`_finish`)."""

    __slots__ = (
        "_closed",
        "_rest",
        "_secrets",
        "content_begun",
        "done",
        "error_seen",
        "finish_reason",
        "usage",
    )

    operation = ""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self.content_begun = False
        self.done = False
        self.error_seen = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._secrets = secrets
        self._rest = b""
        self._closed = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream, return whole events of the caller's. Raises `StreamTooLargeError`."""
        whole, self._rest = split_whole(self._rest + data if self._rest else data)
        return self._translate(whole) if whole else b""

    def end(self) -> bytes:
        """The upstream's stream is over: what its last event becomes, and the end if it had finished but not said so.

        To be sent only if the connection ended unbroken, like the bytes of any stream's `end()`.
        """
        rest, self._rest = self._rest, b""
        out = []
        with suppress(UnreadableEventError):  # cut off in its middle, it is no event
            out += [self._take(payload_of(rest))] if payload_of(rest) and not self._closed else []
        if not self._closed and self._is_finished():
            out.append(self._finish())
        return b"".join(out)

    def error_event(self, error: ApiError) -> bytes:
        """The event that tells the caller what broke the stream."""
        return stream_error(self.operation, error)

    def _translate(self, whole: bytes) -> bytes:
        out = []
        for event in events_of(whole):
            payload = payload_of(event)
            if payload and not self._closed:
                try:
                    out.append(self._take(payload))
                except UnreadableEventError:
                    out.append(self._break(_unreadable()))
        return b"".join(out)

    def _fail(self, error: msgspec.Raw | None) -> bytes:
        """Pass an error of the upstream's on, in the caller's shape and without secrets."""
        said = said_in(error, self._secrets)
        return self._break(ApiError(502, said.message or "", said.type or "server_error", code="upstream_error"))

    def _break(self, error: ApiError) -> bytes:
        """Say what is wrong, and nothing more."""
        self.error_seen = self._closed = True
        return stream_error(self.operation, error)

    def _take(self, payload: bytes) -> bytes:
        """What one event of the upstream's becomes. Raises `UnreadableEventError`."""
        raise NotImplementedError

    def _finish(self) -> bytes:
        """The end of a complete stream."""
        raise NotImplementedError

    def _is_finished(self) -> bool:
        """Whether the upstream said why generation ended."""
        raise NotImplementedError


def _unreadable() -> ApiError:
    text = "The model's server sent an event that can't be read."
    return ApiError(502, text, "server_error", code="upstream_bad_event")
