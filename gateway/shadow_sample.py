"""A request in the shadow sample, from the head of its answer on: what must be kept of it for the other arm's call."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from gateway.core.answer_text import answer_text
from gateway.core.outcome import Outcome
from gateway.core.shadowing import ANSWER_MAX_BYTES

if TYPE_CHECKING:
    from gateway.core.call import Call
    from gateway.core.errors import ApiError
    from gateway.core.outcome import Failure
    from gateway.core.sse import Usage
    from gateway.delivery import Owner
    from gateway.http.incoming import Incoming
    from gateway.http.lease import Answer
    from rollout.core.model import Decision

_log = logging.getLogger(__name__)


class Room:
    """Memory that samples of one worker may hold together."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0

    def take(self, size: int) -> bool:
        """Whether there is room for so many more bytes; they are held then."""
        if self.held + size > self.bytes_max:
            return False
        self.held += size
        return True


class Desk(Protocol):
    """Whoever takes settled samples."""

    def offer(self, sample: Sample) -> None:
        """Take one whose request has settled."""
        ...


class Sample:
    """Stands between a delivery and its exchange: copies the answer as it passes, and hears how it ended.

    It is the delivery's `Owner` and hands everything on; what goes to the caller is the same object that came.
    """

    def __init__(
        self, owner: Owner, call: Call, decision: Decision, request_id: str, *, desk: Desk, room: Room
    ) -> None:
        self._owner: Owner | None = owner
        self._desk, self._room = desk, room
        self.incoming: Incoming = owner.incoming
        self.secrets = owner.secrets
        self.call, self.decision, self.request_id = call, decision, request_id
        self.transport = self.incoming.protocol.transport
        # An Incoming forgets its body with its answer.
        self.prompt = self.incoming.body
        self.ok = self.streamed = False
        self.too_large = not room.take(len(self.prompt))
        self._held_bytes = 0 if self.too_large else len(self.prompt)
        self._parts: list[bytes] = []
        self._text: str | None = None
        self.answer_bytes = 0
        self.usage: Usage | None = None
        self.ttft_s: float | None = None
        self.duration_s = self.since_s = 0.0

    def tap(self, data: bytes) -> bytes:
        """Copy what the caller gets; gives it back as it is."""
        if not self.too_large:
            self.answer_bytes += len(data)
            if self.answer_bytes > ANSWER_MAX_BYTES or not self._room.take(len(data)):
                self.too_large = True
                self._parts = []
            else:
                self._held_bytes += len(data)
                self._parts.append(data)
        return data

    @property
    def body(self) -> bytes:
        """What was copied, until it is forgotten for its text or released."""
        return b"".join(self._parts)

    @property
    def text(self) -> str | None:
        """What the caller read, None if that can't be told. The bytes are forgotten for it."""
        if self._parts:
            body, self._parts = b"".join(self._parts), []
            self._text = answer_text(self.incoming.operation, body, stream=self.streamed)
        return self._text

    @property
    def delivered(self) -> bool:
        """Whether all of it has left the gateway."""
        return self.transport.is_closing() or not self.transport.get_write_buffer_size()

    @property
    def abandoned(self) -> bool:
        """Whether its exchange has settled, but nobody took it: the caller has left, time was up, or a defect."""
        return self._owner is not None and self.incoming.listener is None

    def release(self) -> None:
        """Nothing of it is needed any more; harmless when done again."""
        self._room.held -= self._held_bytes
        self._held_bytes = 0
        self._parts, self.prompt = [], b""
        self._owner = None

    def head(self, answer: Answer) -> bytes:
        """Owner."""
        return self._exchange.head(answer)

    def settle(self, outcome: Outcome, cause: str, usage: Usage | None = None, ttft_s: float | None = None) -> None:
        """Owner: the exchange settles first, whatever becomes of the sample."""
        self._exchange.settle(outcome, cause, usage, ttft_s)
        try:
            self.ok = outcome is Outcome.OK
            self.usage, self.ttft_s, self.since_s = usage, ttft_s, perf_counter()
            self.duration_s = self.since_s - self.incoming.arrived_at_s
            self._desk.offer(self)
            self._owner = None
        except Exception:  # noqa: BLE001  an answer that has been given must not be broken by its copy
            _log.exception("a sampled request could not be taken for its shadow")

    def refuse(self, error: ApiError, outcome: Outcome, cause: str) -> None:
        """Owner."""
        self._exchange.refuse(error, outcome, cause)

    def fail(self, failure: Failure, error: ApiError | None = None) -> None:
        """Owner."""
        self._exchange.fail(failure, error)

    @property
    def _exchange(self) -> Owner:
        if self._owner is None:  # pragma: no cover - a delivery settles once, and does nothing then
            raise RuntimeError("the exchange has settled")
        return self._owner
