"""The life of one relay request: plan -> attempt -> relay -> settle, exactly once, without a task of its own.

Every step is a callback from a socket or from the deadline sweep, so each runs to its end undisturbed. The exchange
owns all that must be given back (lease, endpoint count, place among the active) and gives it back in `_settle` only.
"""

from __future__ import annotations

import time
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.core.answer import read_usage
from gateway.core.call import Call, parse, request_id, rewrite
from gateway.core.errors import ApiError, render_body
from gateway.core.outcome import (
    CALLER_ERRORS_FROM,
    SERVER_ERRORS_FROM,
    Failure,
    Outcome,
    Phase,
    Record,
    StreamEnd,
    classify_status,
    classify_stream,
)
from gateway.core.routing import Plan, may_fail_over, plan, status_fails_over
from gateway.core.sse import StreamTooLargeError, StreamView
from gateway.core.wire import broken, error_lines, is_answer, request_lines, returned_lines, upstream_error
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.routing import Principal
    from gateway.core.sse import Usage
    from gateway.http.incoming import Incoming
    from gateway.http.lease import Answer, Lease
    from gateway.relay import Relay
    from gateway.upstream import Endpoint, Upstream

ERROR_BODY_MAX_BYTES = 65_536
ANSWER_HELD_MAX_BYTES = 1_048_576
"""A non-stream answer up to this size is held until it is whole, so that a break can still become an error."""
_TOO_MANY = 429
_OWN_FAILURES = frozenset({"queue_full", "queue_timeout", "closed"})
_BROKEN_STREAM = b"data: %b\n\n" % render_body(
    ApiError(502, "The stream broke off before its end.", "server_error", code="upstream_broke")
)


class Exchange:
    """One request. It is the `Listener` of its caller and the `Receiver` of its upstream."""

    _call: Call | None = None
    _plan: Plan | None = None
    _principal: Principal | None = None
    _upstream: Upstream | None = None
    _endpoint: Endpoint | None = None
    _ticket = 0
    _endpoint_failed: bool | None = None
    _lease: Lease | None = None
    _view: StreamView | None = None
    _sent_s: float | None = None
    _ttft_s: float | None = None
    _answer_bytes = 0
    _attempts = 0
    _status = 0
    _last_read_s = 0.0
    _blocked = False
    _settled = False

    def __init__(self, relay: Relay, incoming: Incoming) -> None:
        self._relay = relay
        self._incoming = incoming
        self._headers = headers = incoming.headers
        sent = headers.get(b"x-request-id")
        self._request_id = (request_id(sent) if sent else None) or relay.next_request_id()
        self._held: list[bytes] = []

    def begin(self) -> None:
        """Decide, then make the first attempt; a refusal is answered at once."""
        relay, incoming, headers = self._relay, self._incoming, self._headers
        try:
            principal = self._principal = relay.keyring.find(headers.get(b"authorization"), time.time())
            call = self._call = parse(incoming.body, headers, principal.tenant, self._request_id)
            self._plan = plan(call, principal, relay.snapshot(), relay.upstream_of_model)
        except ApiError as error:
            self._answer_error(error, Outcome.REFUSED, error.code or "refused")
            return
        incoming.listener = self
        relay.active.add(self)
        self._attempt()

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Receiver: relay what one read of the upstream's socket brought."""
        if self._settled:
            return
        now_s = self._last_read_s = perf_counter()
        if self._status == 0:
            self._status = answer.status
            if answer.status != _TOO_MANY:
                self._endpoint_failed = answer.status >= SERVER_ERRORS_FROM
            if not is_answer(answer.status, answer.headers):
                self._cancel_lease()
                self.on_failure(Failure(Phase.FIRST_BYTE, "bad_answer", f"status {answer.status}, not an API's answer"))
                return
            if answer.status < CALLER_ERRORS_FROM and _is_event_stream(answer.headers):
                self._view = StreamView(usage_wanted=self._call is not None and self._call.usage_wanted)
        if self._status >= CALLER_ERRORS_FROM:
            self._take_error(answer, data, complete=complete)
        elif self._view is not None:
            self._relay_stream(self._view, answer, data, now_s, complete=complete)
        else:
            self._relay_whole(answer, data, complete=complete)

    def on_failure(self, failure: Failure) -> None:
        """Receiver: the attempt broke; try the next target, or tell the caller as well as is still possible."""
        if self._settled:
            return
        self._lease = None
        if failure.kind not in _OWN_FAILURES:
            self._endpoint_failed = True
        incoming = self._incoming
        if not incoming.begun:
            if self._another_target() and may_fail_over(failure):
                self._attempt()
            else:
                self._answer_error(broken(failure), _outcome_of(failure), failure.kind)
            return
        if self._view is not None:
            self._break_stream(self._view, failure.kind)
        else:
            incoming.abort()
            self._settle(Outcome.TRUNCATED, failure.kind)

    def on_caller_gone(self) -> None:
        """Listener: nobody waits for the answer; the upstream sees the abort at once."""
        self._settle(Outcome.CANCELLED, "caller_gone")

    def on_caller_blocked(self) -> None:
        """Listener: the caller is slow; stop reading from the upstream."""
        self._blocked = True
        if self._lease is not None:
            self._lease.pause_reading()

    def on_caller_ready(self) -> None:
        """Listener: read on."""
        self._blocked = False
        self._last_read_s = perf_counter()
        if self._lease is not None:
            self._lease.resume_reading()

    def check(self, now_s: float) -> None:
        """Break the attempt whose deadline has passed (`now_s`: perf_counter)."""
        upstream, lease = self._upstream, self._lease
        if upstream is None or lease is None:
            return
        limits = upstream.deadlines
        if now_s - self._incoming.arrived_at_s > limits.total_s:
            self._expire(lease, "total_timeout")
        elif self._status == 0:
            if now_s - self._last_read_s > limits.first_byte_s:
                self._expire(lease, "first_byte_timeout")
        elif not self._blocked and now_s - self._last_read_s > limits.idle_s:
            self._expire(lease, "idle_timeout")

    def _expire(self, lease: Lease, kind: str) -> None:
        phase = lease.phase
        lease.cancel()
        if self._blocked:
            self._incoming.drop()
            self._settle(Outcome.TIMEOUT, "caller_stalled")
            return
        self.on_failure(Failure(phase, kind, "deadline passed"))

    def _attempt(self) -> None:
        """Send the call to the next target."""
        call, chosen = self._call, self._plan
        if call is None or chosen is None:  # pragma: no cover - begin() sets both
            return
        self._give_endpoint_back()
        self._status, self._view, self._held, self._answer_bytes = 0, None, [], 0
        name = chosen.fallback if self._attempts else chosen.upstream
        upstream = self._upstream = self._relay.upstreams.get(name)
        self._attempts += 1
        if upstream is None:
            self.on_failure(Failure(Phase.CONNECT, "unknown_upstream", "named in the flag, absent from the config"))
            return
        now_s = self._last_read_s = perf_counter()
        endpoint = upstream.choose(call.subject.conversation, now_s)
        if endpoint is None:
            self.on_failure(Failure(Phase.CONNECT, "no_endpoint", "none admits a request"))
            return
        self._endpoint = endpoint
        self._ticket = endpoint.breaker.on_sent(now_s)
        endpoint.outstanding += 1
        body = rewrite(call, upstream.raw_model)
        head = endpoint.heads[self._incoming.operation] + request_lines(
            self._headers, self._request_id.encode("ascii"), len(body)
        )
        self._sent_s = now_s - self._incoming.arrived_at_s
        self._lease = endpoint.pool.request(self, head, body)

    def _another_target(self) -> bool:
        return self._attempts == 1 and self._plan is not None and self._plan.fallback != ""

    def _relay_whole(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Hold a plain answer until it is whole (or too large to hold), then pass it on in one write."""
        incoming = self._incoming
        self._answer_bytes += len(data)
        if incoming.begun:
            incoming.send(data)
        else:
            self._held.append(data)
            if not complete:
                if self._answer_bytes > ANSWER_HELD_MAX_BYTES:
                    incoming.begin(self._status, self._head(answer), b"".join(self._held))
                return
            body = self._held[0] if len(self._held) == 1 else b"".join(self._held)
            incoming.respond(self._status, self._head(answer), body)
            self._settle(Outcome.OK, "", read_usage(body))
            return
        if complete:
            incoming.finish()
            self._settle(Outcome.OK, "")

    def _relay_stream(self, view: StreamView, answer: Answer, data: bytes, now_s: float, *, complete: bool) -> None:
        """Pass on the whole events of one read in one write; judge the stream at its end."""
        incoming = self._incoming
        try:
            forward = view.feed(data) if data else b""
        except StreamTooLargeError:
            self._cancel_lease()
            self.on_failure(Failure(Phase.BODY, "event_too_large", "one event is larger than the limit"))
            return
        if self._ttft_s is None and view.content_begun:
            self._ttft_s = now_s - incoming.arrived_at_s
        if complete:
            self._end_stream(view, answer, forward, view.end())
        elif forward and incoming.begun:
            incoming.send(forward)
        elif forward:
            incoming.begin(self._status, self._head(answer), forward)

    def _end_stream(self, view: StreamView, answer: Answer, forward: bytes, rest: bytes) -> None:
        """Pass on the end of a stream that ended cleanly on the wire, after judging whether it was complete.

        `rest`, an event without its end, is dropped from an incomplete one: the error event must stand alone.
        """
        incoming = self._incoming
        outcome = _judge(view, broken=False)
        if outcome is Outcome.TRUNCATED and not incoming.begun and not forward:
            self.on_failure(Failure(Phase.FIRST_BYTE, "empty_stream", "the stream ended before its first event"))
            return
        if outcome is Outcome.TRUNCATED:
            self._close_stream(outcome, "cut", answer, forward)
        else:
            self._close_stream(outcome, "", answer, forward + rest)

    def _break_stream(self, view: StreamView, cause: str) -> None:
        """End a stream whose upstream broke; the begun event that `end()` gives is dropped, being of no use."""
        view.end()
        outcome = _judge(view, broken=True)
        timed_out = outcome is Outcome.TRUNCATED and cause.endswith("timeout")
        self._close_stream(Outcome.TIMEOUT if timed_out else outcome, cause)

    def _close_stream(self, outcome: Outcome, cause: str, answer: Answer | None = None, forward: bytes = b"") -> None:
        """Finish the answer in one write. SDKs take a clean end for success: an incomplete stream says what it is."""
        incoming = self._incoming
        if outcome is Outcome.UPSTREAM_ERROR:
            cause = "in_band_error"
        elif outcome is not Outcome.OK:
            forward += _BROKEN_STREAM
        if outcome is not Outcome.OK:
            incoming.keep_alive = False
        if incoming.begun or answer is None:
            incoming.finish(forward)
        else:
            incoming.respond(self._status, self._head(answer), forward)
        self._settle(outcome, cause)

    def _take_error(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Collect an error answer; then the next target, or the caller, gets its turn."""
        if status_fails_over(self._status) and self._another_target():
            self._cancel_lease()
            self._attempt()
            return
        self._answer_bytes += len(data)
        if self._answer_bytes <= ERROR_BODY_MAX_BYTES:
            self._held.append(data)
        if complete:
            error = upstream_error(self._status, answer.headers, b"".join(self._held), self._secrets())
            self._answer_error(error, classify_status(self._status), f"status_{self._status}")

    def _answer_error(self, error: ApiError, outcome: Outcome, cause: str) -> None:
        head = b"x-request-id: %b\r\n" % self._request_id.encode("ascii")
        chosen = self._plan
        if chosen is not None and self._attempts:
            arm = self._served_arm(chosen)
            model = self._upstream.model_bytes if self._upstream else b""
            head += self._relay.answer_lines(chosen, arm, model, self._attempts)
        head += error_lines(error, retry_is_useless=self._attempts > 1)
        self._status = error.status
        self._incoming.respond(error.status, head, render_body(error))
        self._settle(outcome, cause)

    def _head(self, answer: Answer) -> bytes:
        chosen, upstream = self._plan, self._upstream
        if chosen is None or upstream is None:  # pragma: no cover - an answer has both
            return b""
        arm = self._served_arm(chosen)
        return b"x-request-id: %b\r\n%b%b" % (
            self._request_id.encode("ascii"),
            self._relay.answer_lines(chosen, arm, upstream.model_bytes, self._attempts),
            returned_lines(answer.headers),
        )

    def _secrets(self) -> tuple[str, ...]:
        return self._upstream.secrets if self._upstream else ()

    def _served_arm(self, chosen: Plan) -> str:
        return chosen.assigned if self._attempts == 1 else Arm.BASELINE

    def _settle(self, outcome: Outcome, cause: str, usage: Usage | None = None) -> None:
        """Give everything back and leave the one Record."""
        if self._settled:
            return
        self._settled = True
        self._relay.active.discard(self)
        self._cancel_lease()
        self._give_endpoint_back()
        self._incoming.listener = None
        self._relay.record(self._make_record(outcome, cause, usage))

    def _cancel_lease(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.cancel()

    def _give_endpoint_back(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            return
        endpoint.outstanding -= 1
        failed, self._endpoint_failed = self._endpoint_failed, None
        breaker = endpoint.breaker
        tell = breaker.on_released if failed is None else breaker.on_failure if failed else breaker.on_success
        tell(self._last_read_s, self._ticket)

    def _make_record(self, outcome: Outcome, cause: str, usage: Usage | None) -> Record:
        chosen, call = self._plan, self._call
        decision = chosen.decision if chosen else None
        if self._view is not None:
            usage = self._view.usage
        return Record(
            self._request_id,
            time.time(),
            self._incoming.operation,
            chosen.feature if chosen else "",
            chosen.assigned if chosen else "",
            self._served_arm(chosen) if chosen and self._attempts else "",
            chosen.reason if chosen else "",
            (decision.unit_kind or "") if decision else "",
            decision.bucket if decision else -1,
            decision.revision if decision else 0,
            self._principal.tenant if self._principal else "",
            self._upstream.name if self._upstream else "",
            call.stream if call else False,
            self._status,
            outcome,
            cause,
            self._attempts,
            _client_retries(self._headers),
            self._sent_s,
            self._ttft_s,
            perf_counter() - self._incoming.arrived_at_s,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
        )


def _is_event_stream(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"")[:17].lower() == b"text/event-stream"


def _judge(view: StreamView, *, broken: bool) -> Outcome:
    return classify_stream(StreamEnd(view.done, view.finish_reason is not None, view.error_seen, broken))


def _client_retries(headers: Mapping[bytes, bytes]) -> int:
    """Retries the official SDKs say they have made."""
    value = headers.get(b"x-stainless-retry-count")
    return int(value) if value and value.isdigit() and len(value) <= 2 else 0  # noqa: PLR2004  two digits are plenty


def _outcome_of(failure: Failure) -> Outcome:
    if failure.kind.endswith("timeout"):
        return Outcome.TIMEOUT
    return Outcome.UNREACHABLE if failure.phase is Phase.CONNECT else Outcome.UPSTREAM_ERROR
