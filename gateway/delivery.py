"""How an upstream's answer is passed on: whole, as a stream, or as an error. One object per answer.

Until the first byte has gone to the caller a break can still become another attempt; after that it is told in-band.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from gateway.core.answer import read_usage
from gateway.core.errors import ApiError
from gateway.core.outcome import Failure, Outcome, Phase, StreamEnd, cause_of_status, classify_status, classify_stream
from gateway.core.providers.wires import StreamFacts
from gateway.core.response_ids import IdRewriter, Place
from gateway.core.sse import StreamTooLargeError
from gateway.core.wire import lost_response, upstream_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.attempt import Attempt
    from gateway.core.providers.wires import Wire
    from gateway.core.sse import Usage, View
    from gateway.http.incoming import Incoming
    from gateway.http.lease import Answer

ERROR_BODY_MAX_BYTES = 65_536
ANSWER_HELD_MAX_BYTES = 1_048_576
"""A plain answer up to this size is held until it is whole, so that a break can still become an error."""
_BROKEN = ApiError(502, "The stream broke off before its end.", "server_error", code="upstream_broke")


class Owner(Protocol):
    """The exchange, as its delivery sees it."""

    incoming: Incoming
    secrets: tuple[str, ...]

    def head(self, answer: Answer) -> bytes:
        """Header lines of an answer that is passed on."""
        ...

    def settle(self, outcome: Outcome, cause: str, usage: Usage | None = None, ttft_s: float | None = None) -> None:
        """Give everything back and leave the Record."""
        ...

    def refuse(self, error: ApiError, outcome: Outcome, cause: str) -> None:
        """Answer with an error and settle."""
        ...

    def fail(self, failure: Failure, error: ApiError | None = None) -> None:
        """Give the attempt up; nothing has been sent. `error`: for the caller, if there is no other attempt."""
        ...


class Delivery(Protocol):
    """What an exchange does with an answer."""

    def take(self, data: bytes, now_s: float, *, complete: bool) -> None:
        """Pass on what one read brought (`now_s`: perf_counter)."""
        ...

    def broke(self, outcome: Outcome, cause: str) -> bool:
        """End an answer that broke off; False if nothing of it has been sent, so that another one may be tried."""
        ...


class PlainDelivery:
    """Holds an answer until it is whole (or too large to hold), then passes it on in one write.

    `change`: makes the caller's body of the upstream's; raises `ApiError`. `whole`: whether it must have all of it;
    else the beginning will do, if that is too large.
    """

    __slots__ = ("_answer", "_change", "_held", "_owner", "_size", "_whole")

    def __init__(
        self, owner: Owner, answer: Answer, change: Callable[[bytes], bytes] | None = None, *, whole: bool = False
    ) -> None:
        self._owner = owner
        self._answer = answer
        self._change = change
        self._whole = whole
        self._held: list[bytes] = []
        self._size = 0

    def take(self, data: bytes, now_s: float, *, complete: bool) -> None:
        """Delivery."""
        owner = self._owner
        incoming = owner.incoming
        if complete and not self._held and not incoming.begun:
            if self._change is None:
                incoming.respond(self._answer.status, owner.head(self._answer), data)
                owner.settle(Outcome.OK, "", read_usage(data))
            else:
                self._respond_changed(self._change, data)
        elif incoming.begun:
            incoming.send(data)
            if complete:
                incoming.finish()
                owner.settle(Outcome.OK, "")
        else:
            self._hold(data, now_s, complete=complete)

    def broke(self, outcome: Outcome, cause: str) -> bool:
        """Delivery: the missing end of the message is what tells the caller."""
        if not self._owner.incoming.begun:
            return False
        self._owner.incoming.abort()
        self._owner.settle(Outcome.TRUNCATED if outcome is Outcome.UPSTREAM_ERROR else outcome, cause)
        return True

    def _respond_changed(self, change: Callable[[bytes], bytes], data: bytes) -> None:
        owner = self._owner
        try:
            body = change(data)
        except ApiError as error:
            owner.fail(Failure(Phase.BODY, "bad_answer", error.message), error)
            return
        owner.incoming.respond(self._answer.status, owner.head(self._answer), body)
        owner.settle(Outcome.OK, "", read_usage(data))

    def _hold(self, data: bytes, now_s: float, *, complete: bool) -> None:
        self._held.append(data)
        self._size += len(data)
        if complete:
            body = b"".join(self._held)
            self._held = []
            self.take(body, now_s, complete=True)
        elif self._size > ANSWER_HELD_MAX_BYTES:
            owner = self._owner
            if self._whole:
                owner.fail(Failure(Phase.BODY, "answer_too_large", "too large to be translated"))
                return
            body, self._held = b"".join(self._held), []
            if self._change is not None:
                body = self._change(body)
            owner.incoming.begin(self._answer.status, owner.head(self._answer), body)


class StreamDelivery:
    """Passes on the whole events of one read in one write; judges the stream at its end.

    `change`: applied to all that is passed on.
    """

    __slots__ = ("_answer", "_change", "_owner", "_ttft_s", "_view")

    def __init__(
        self, owner: Owner, answer: Answer, view: View, change: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._owner = owner
        self._answer = answer
        self._view = view
        self._change = change
        self._ttft_s: float | None = None

    def take(self, data: bytes, now_s: float, *, complete: bool) -> None:
        """Delivery."""
        view, incoming = self._view, self._owner.incoming
        try:
            forward = view.feed(data) if data else b""
        except StreamTooLargeError:
            self._too_large()
            return
        if self._change is not None:
            forward = self._change(forward)
        if self._ttft_s is None and view.content_begun:
            self._ttft_s = incoming.ttft_s = now_s - incoming.arrived_at_s
        if complete:
            self._end(forward, view.end())
        elif forward and incoming.begun:
            incoming.send(forward)
        elif forward:
            incoming.begin(self._answer.status, self._owner.head(self._answer), forward)

    def broke(self, outcome: Outcome, cause: str) -> bool:
        """Delivery; the begun event that `end()` gives is dropped, being of no use."""
        if not self._owner.incoming.begun:
            return False
        self._view.end()
        judged = self._judge(broken=True)
        if judged is Outcome.TRUNCATED and outcome is not Outcome.UPSTREAM_ERROR:
            judged = outcome
        self._close(judged, cause)
        return True

    def _end(self, forward: bytes, rest: bytes) -> None:
        """Judge a stream that ended cleanly on the wire, and pass on its end.

        `rest`, an event without its end, is dropped from an incomplete one: the error event must stand alone.
        """
        outcome = self._judge(broken=False)
        if self._change is not None:
            rest = self._change(rest)
        if outcome is not Outcome.TRUNCATED:
            self._close(outcome, "", forward + rest)
        elif forward or self._owner.incoming.begun:
            self._close(outcome, "cut", forward)
        else:
            self._owner.fail(Failure(Phase.FIRST_BYTE, "empty_stream", "the stream ended before its first event"))

    def _close(self, outcome: Outcome, cause: str, forward: bytes = b"") -> None:
        """Finish the answer. SDKs take a clean end for success: an incomplete stream says what it is.

        Its message stays without an end as well. With one, callers would use the connection again, whose head has said
        nothing of closing, and send the next request into a closed socket.
        """
        owner = self._owner
        incoming = owner.incoming
        if outcome is Outcome.UPSTREAM_ERROR:
            cause = "in_band_error"
        elif outcome is not Outcome.OK:
            forward += self._view.error_event(_BROKEN)
        if incoming.begun and outcome is not Outcome.OK:
            incoming.send(forward)
            incoming.abort()
        elif incoming.begun:
            incoming.finish(forward)
        else:
            incoming.keep_alive &= outcome is Outcome.OK
            incoming.respond(self._answer.status, owner.head(self._answer), forward)
        owner.settle(outcome, cause, self._view.usage, self._ttft_s)

    def _too_large(self) -> None:
        failure = Failure(Phase.BODY, "event_too_large", "one event is larger than the limit")
        if not self.broke(Outcome.UPSTREAM_ERROR, failure.kind):
            self._owner.fail(failure)

    def _judge(self, *, broken: bool) -> Outcome:
        view = self._view
        return classify_stream(StreamEnd(view.done, view.finish_reason is not None, view.error_seen, broken))


class ErrorDelivery:
    """Collects an error answer, then tells the caller what it may know of it.

    `continues`: whether the call goes on with an earlier response.
    """

    __slots__ = ("_answer", "_continues", "_held", "_owner", "_size")

    def __init__(self, owner: Owner, answer: Answer, *, continues: bool) -> None:
        self._owner = owner
        self._answer = answer
        self._continues = continues
        self._held: list[bytes] = []
        self._size = 0

    def take(self, data: bytes, now_s: float, *, complete: bool) -> None:  # noqa: ARG002  as every delivery
        """Delivery."""
        self._size += len(data)
        if self._size <= ERROR_BODY_MAX_BYTES:
            self._held.append(data)
        if complete:
            self._tell(b"".join(self._held))

    def broke(self, outcome: Outcome, cause: str) -> bool:  # noqa: ARG002  as every delivery
        """Delivery: the status has said enough."""
        self._tell(b"".join(self._held))
        return True

    def _tell(self, body: bytes) -> None:
        status = self._answer.status
        lost = lost_response(status, body) if self._continues else None
        if lost is not None:
            self._owner.refuse(lost, Outcome.CALLER_ERROR, lost.code or "")
            return
        error = upstream_error(status, self._answer.headers, body, self._owner.secrets)
        self._owner.refuse(error, classify_status(status), cause_of_status(status))


def deliver(
    owner: Owner,
    answer: Attempt,
    wire: Wire,
    *,
    usage_wanted: bool,
    previous: bytes = b"",
    tap: Callable[[bytes], bytes] | None = None,
) -> Delivery:
    """How an answer that is no error is passed on, as the wire between caller and upstream wants it.

    `previous`: see `IdRewriter`. `tap`: sees the body as the caller gets it, and gives it back.
    """
    change: Callable[[bytes], bytes] | None = None
    if owner.incoming.operation == "responses":
        change = IdRewriter(Place(answer.upstream.name, answer.endpoint.mark), previous).rewrite
    if is_event_stream(answer.headers):
        view = wire.view(StreamFacts(usage_wanted, int(time.time()), owner.secrets))
        return StreamDelivery(owner, answer, view, change if tap is None else _tapped(change, tap))
    translate = wire.answer
    if translate is not None:
        created = int(time.time())
        change = lambda body: translate(body, created)  # noqa: E731  a def would be as long again
    return PlainDelivery(owner, answer, change if tap is None else _tapped(change, tap), whole=translate is not None)


def is_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Whether an upstream answers with a stream of events."""
    return headers.get(b"content-type", b"")[:17].lower() == b"text/event-stream"


def _tapped(change: Callable[[bytes], bytes] | None, tap: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return tap if change is None else lambda data: tap(change(data))
