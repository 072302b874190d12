"""The life of one relay request: plan -> attempt -> deliver -> settle, exactly once, without a task of its own.

Every step is a callback from a socket, a timer or the deadline sweep, so each runs to its end undisturbed. The exchange
owns all that must be given back (attempt, timer, place among the active) and gives it back in `settle` only.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING

from gateway.attempt import Attempt
from gateway.core.call import Call, client_retries, parse, request_id
from gateway.core.deadlines import asked, tighten
from gateway.core.errors import FAULT, ApiError
from gateway.core.outcome import (
    CALLER_ERRORS_FROM,
    REDIRECTS_FROM,
    Failure,
    Outcome,
    Phase,
    Record,
    cause_of_status,
    classify_status,
    outcome_of,
)
from gateway.core.providers.error_shapes import render_error
from gateway.core.providers.heads import passed_lines
from gateway.core.providers.wires import wire_of
from gateway.core.retry import ATTEMPTS_MAX, Reach, Situation, Where, next_move, reach_of_failure, reach_of_status
from gateway.core.routing import Plan, plan
from gateway.core.trace import traceparent_of
from gateway.core.wire import broken, error_lines, is_answer, request_lines, retry_after_s, returned_lines, unavailable
from gateway.delivery import ErrorDelivery, deliver
from gateway.upstream import EJECTED, NO_RETRIES
from rollout.core.model import Arm

if TYPE_CHECKING:
    from gateway.core.admission.gate import Permit
    from gateway.core.deadlines import Deadlines
    from gateway.core.providers.wires import Wire
    from gateway.core.retry import Move
    from gateway.core.routing import Principal
    from gateway.core.sse import Usage
    from gateway.delivery import Delivery
    from gateway.http.incoming import Incoming
    from gateway.http.lease import Answer
    from gateway.relay import Relay
    from gateway.upstream import Endpoint, Upstream

_log = logging.getLogger(__name__)
LATE = Failure(Phase.CONNECT, "total_timeout", "the caller's deadline passed while its request waited")


class Exchange:
    """One request. It is the `Listener` of its caller, the `Asker` of its attempts, the `Owner` of its delivery."""

    _call: Call | None = None
    _plan: Plan | None = None
    _principal: Principal | None = None
    _upstream: Upstream | None = None
    _attempt: Attempt | None = None
    _endpoint: Endpoint | None = None
    _wire: Wire
    _wish: Deadlines | None = None
    _timer: asyncio.TimerHandle | None = None
    _sent_s: float | None = None
    _attempts = 0
    _status = 0
    _fallen_back = False
    _elsewhere = False
    _blocked = False
    _settled = False
    _permit: Permit | None = None
    placed = False
    """Whether it is among the requests under way; else it waits at the door, or never came so far."""
    _answered = False
    secrets: tuple[str, ...] = ()

    def __init__(self, relay: Relay, incoming: Incoming) -> None:
        self._relay = relay
        self.incoming = incoming
        self._headers = headers = incoming.headers
        self._failed = ("", "")
        self._delivery: Delivery | None = None
        self._trace = trace = relay.trace(headers)
        self._traceparent = None if trace is None else traceparent_of(trace)
        self._request_id = request_id(headers.get(b"x-request-id")) or relay.next_request_id()

    def begin(self) -> None:
        """Decide, then make the first attempt; a refusal is answered at once."""
        relay, incoming, headers = self._relay, self.incoming, self._headers
        try:
            principal = self._principal = relay.keyring.find(headers, time())
            call = self._call = parse(incoming.body, headers, principal.tenant, self._request_id, incoming.operation)
            self._wish = asked(headers)
            reach, models = relay.door.tenants.of(principal.tenant).reach, relay.upstream_of_model
            chosen = self._plan = plan(call, principal, relay.snapshot(), models, reach, headers)
            self._permit = relay.door.reserve(principal, call, len(incoming.body), chosen, time())
            incoming.listener = self
            relay.active.add(self)
        except ApiError as error:
            self.turn_away(error)
            return
        if relay.door.enter(self, principal, call, headers):
            self.start()

    def start(self) -> None:
        """Guest: there is a place; or the wait before another attempt is over."""
        self.placed = True
        try:
            self._try()
        except Exception:  # noqa: BLE001  nobody above knows whose request it was
            self._on_defect()

    def turn_away(self, error: ApiError) -> None:
        """Guest: there is no place; or it is refused for what it asks."""
        self.refuse(error, Outcome.REFUSED, error.code or "refused")

    def on_answer(self, attempt: Attempt, data: bytes, *, complete: bool) -> None:
        """Asker: relay what one read of the upstream's socket brought."""
        if self._settled:
            return
        try:
            delivery = self._delivery or self._open(attempt)
            if delivery is not None:
                delivery.take(data, attempt.last_read_s, complete=complete)
        except Exception:  # noqa: BLE001  likewise
            self._on_defect()

    def on_failure(self, attempt: Attempt, failure: Failure) -> None:  # noqa: ARG002  there is one at a time
        """Asker: the attempt broke; try elsewhere, or tell the caller as well as is still possible."""
        if self._settled:
            return
        try:
            if self._delivery is None or not self._delivery.broke(outcome_of(failure), failure.kind):
                self.fail(failure)
        except Exception:  # noqa: BLE001  likewise
            self._on_defect()

    def on_caller_gone(self) -> None:
        """Listener: nobody waits for the answer; the upstream sees the abort at once."""
        self.settle(Outcome.CANCELLED, "caller_gone", ttft_s=self.incoming.ttft_s)

    def on_caller_blocked(self) -> None:
        """Listener: the caller is slow; stop reading from the upstream."""
        self._blocked = True
        if self._attempt is not None:
            self._attempt.pause_reading()

    def on_caller_ready(self) -> None:
        """Listener: read on."""
        self._blocked = False
        if self._attempt is not None:
            self._attempt.resume_reading()

    def check(self, now_s: float) -> None:
        """Break the attempt whose deadline has passed, or the wait at the door (`now_s`: perf_counter)."""
        attempt, incoming = self._attempt, self.incoming
        if attempt is None:
            if not self.placed and self._wish is not None and now_s - incoming.arrived_at_s > self._wish.total_s:
                self.refuse(broken(LATE), Outcome.TIMEOUT, LATE.kind)
            return
        if (kind := attempt.overdue(now_s, incoming.arrived_at_s)) is None:
            return
        if self._blocked:
            incoming.drop()
            self.settle(Outcome.TIMEOUT, "caller_stalled")
            return
        failure = Failure(attempt.phase, kind, "deadline passed")
        attempt.expire(failure)
        self.on_failure(attempt, failure)

    def end_now(self) -> None:
        """The gateway can wait no longer: a begun stream is told so in-band, another caller gets a 503."""
        self._cancel_attempt()
        if self._delivery is None or not self._delivery.broke(Outcome.TRUNCATED, "draining"):
            error = unavailable("The gateway is shutting down.", code="draining", retry_after_s=1)
            self.refuse(error, Outcome.REFUSED, "draining")

    def fail(self, failure: Failure, error: ApiError | None = None) -> None:
        """Owner: give the attempt up, nothing having been sent; another one, or the caller is told (by `error`)."""
        self._cancel_attempt()
        outcome = outcome_of(failure)
        if not self._move(reach_of_failure(failure), outcome, failure.kind, None):
            upstream, ejected = self._upstream, failure.kind == EJECTED
            wait_s = upstream.retry_after_s(perf_counter()) if upstream is not None and ejected else None
            self.refuse(error or broken(failure, wait_s), outcome, failure.kind)

    def head(self, answer: Answer) -> bytes:
        """Owner: header lines of an answer that is passed on."""
        return b"%b%b" % (self._own_lines(), returned_lines(answer.headers))

    def refuse(self, error: ApiError, outcome: Outcome, cause: str) -> None:
        """Owner: answer with an error and settle."""
        head = self._own_lines() + error_lines(error, retry_is_useless=self._attempts > 1 or error.final)
        self._status = error.status
        self.incoming.respond(error.status, head, render_error(self.incoming.operation, error, self._request_id))
        self.settle(outcome, cause)

    def settle(self, outcome: Outcome, cause: str, usage: Usage | None = None, ttft_s: float | None = None) -> None:
        """Owner: give everything back and leave the one Record."""
        if self._settled:
            return
        self._settled = True
        self._relay.active.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._cancel_attempt()
        # Each of them knows this object: without cycles it is gone with its last use, not with the next collection.
        self.incoming.listener = self._delivery = None
        try:
            self._relay.record(self.make_record(outcome, cause, usage, ttft_s))
        finally:
            self._relay.door.part(self, self._permit, self._upstream, usage, time(), answered=self._answered)

    def _on_defect(self) -> None:
        """A defect of ours costs this one request, not whoever shares its connection, its timer or its sweep."""
        _log.exception("a relayed request failed")
        incoming, begun = self.incoming, self.incoming.begun
        incoming.keep_alive = False
        if begun:
            incoming.abort()
        else:
            self._status = FAULT.status
            incoming.refuse(FAULT)
        self.settle(Outcome.TRUNCATED if begun else Outcome.REFUSED, "internal_error")

    def _try(self) -> None:
        """Send the call to the upstream whose turn it is."""
        if (call := self._call) is None or (chosen := self._plan) is None:  # pragma: no cover - begin() sets both
            return
        self._timer = self._delivery = None
        self._answered = False
        self._attempts += 1
        upstream = self._upstream = self._relay.upstreams.get(chosen.fallback if self._fallen_back else chosen.upstream)
        if upstream is None:
            self.fail(Failure(Phase.CONNECT, "unknown_upstream", "named in the flag, absent from the config"))
            return
        self.secrets = upstream.secrets
        try:
            self._send(call, chosen, upstream)
        except ApiError as error:
            if not self._move(Reach.UPSTREAM, Outcome.REFUSED, error.code or "refused", None):
                self.turn_away(error)

    def _send(self, call: Call, chosen: Plan, upstream: Upstream) -> None:
        """Raises `ApiError` for what this upstream can't be asked; nothing is held then."""
        headers, operation = self._headers, self.incoming.operation
        wire = self._wire = wire_of(operation, upstream.kind)
        deadlines = tighten(upstream.deadlines, self._wish)
        body = wire.body(call, upstream.raw_model)
        if self._attempts == 1:
            upstream.retry_budget.deposit()
        now_s = perf_counter()
        endpoint = self._choose(call, chosen, upstream, now_s)
        if endpoint is None:
            self.fail(Failure(Phase.CONNECT, EJECTED, "no endpoint admits a request"))
            return
        head = b"%b%b%b" % (
            endpoint.heads[operation],
            passed_lines(operation, upstream.kind, headers),
            request_lines(headers, self._request_id.encode("ascii"), len(body), self._traceparent),
        )
        attempt = self._attempt = Attempt(self, upstream, endpoint, deadlines, head, body)
        self._endpoint = endpoint
        self._sent_s = attempt.last_read_s - self.incoming.arrived_at_s
        attempt.send()

    def _choose(self, call: Call, chosen: Plan, upstream: Upstream, now_s: float) -> Endpoint | None:
        """Where the request goes: where its conversation is if it matters, else where it may be."""
        if chosen.mark and (home := upstream.endpoint_of(chosen.mark)) is not None:
            return home if home.admits(now_s) else None
        tried = (self._endpoint,) if self._elsewhere and self._endpoint is not None else ()
        return upstream.choose(call.subject.conversation or call.subject.user, now_s, tried)

    def _open(self, attempt: Attempt) -> Delivery | None:
        """Look at the head of an answer; None if it is not passed on, but another attempt made."""
        if (call := self._call) is None or (chosen := self._plan) is None:  # pragma: no cover - begin() sets both
            return None
        status = self._status = attempt.status
        if not is_answer(status, attempt.headers):
            self._give_up(attempt, status)
            return None
        self._answered = status < CALLER_ERRORS_FROM
        if not self._answered:
            wait_s = retry_after_s(attempt.headers)
            if self._move(reach_of_status(status), classify_status(status), cause_of_status(status), wait_s):
                return None
            self._delivery = ErrorDelivery(self, attempt, continues=call.place is not None)
        elif (sampler := self._relay.sampled.get(chosen.feature)) is not None:
            wire, own_id, back = self._wire, self._request_id, self._fallen_back
            self._delivery = sampler.deliver(self, attempt, wire, call, chosen, request_id=own_id, fallen_back=back)
        else:
            self._delivery = deliver(self, attempt, self._wire, usage_wanted=call.usage_wanted, previous=call.previous)
        return self._delivery

    def _give_up(self, attempt: Attempt, status: int) -> None:
        failure = Failure(Phase.FIRST_BYTE, "bad_answer", f"status {status}, not an API's answer")
        if REDIRECTS_FROM <= status < CALLER_ERRORS_FROM:
            if not self._move(Reach.UPSTREAM, Outcome.UPSTREAM_ERROR, failure.kind, None):
                self.refuse(broken(failure), Outcome.UPSTREAM_ERROR, failure.kind)
        else:
            attempt.reject()
            self.fail(failure)

    def _move(self, reach: Reach, outcome: Outcome, cause: str, wait_s: float | None) -> bool:
        """Make the extra attempt if there is one to be made."""
        chosen, upstream = self._plan, self._upstream
        if chosen is None or self._attempts >= ATTEMPTS_MAX:
            return False
        if (move := self._next_move(reach, chosen, upstream, wait_s)) is None:
            return False
        self._cancel_attempt()
        self._failed = (outcome, cause)
        if move.where is Where.FALLBACK:
            self._fallen_back, self._endpoint = True, None
        elif upstream is not None:
            upstream.retry_budget.withdraw()
            self._elsewhere = move.where is Where.ANOTHER
        if move.wait_s:
            self._timer = asyncio.get_running_loop().call_later(move.wait_s, self.start)
        else:
            self._try()
        return True

    def _next_move(self, reach: Reach, chosen: Plan, upstream: Upstream | None, wait_s: float | None) -> Move | None:
        if upstream is None:
            return next_move(reach, Situation(chosen.fallback != "", False, 1.0), NO_RETRIES)
        now_s = perf_counter()
        situation = Situation(
            fallback=chosen.fallback != "" and not self._fallen_back,
            another=not chosen.mark and upstream.has_another(self._endpoint, now_s),
            left_s=tighten(upstream.deadlines, self._wish).total_s - (now_s - self.incoming.arrived_at_s),
            retry_after_s=wait_s,
            client_retries=client_retries(self._headers),
            affordable=upstream.retry_budget.affordable,
            draw=self._relay.draw(),
        )
        return next_move(reach, situation, upstream.retry_rules)

    def _cancel_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _own_lines(self) -> bytes:
        """The gateway's own header lines; of the rollout only what has been tried."""
        chosen, upstream = self._plan, self._upstream
        first = b"x-request-id: %b\r\n" % self._request_id.encode("ascii")
        if self.incoming.operation == "messages":
            first += first[2:]  # the name that Anthropic's SDKs look for
        if self._principal is not None:
            first += self._relay.door.lines(self._principal.key_id, time())
        if chosen is None or not self._attempts:
            return first
        model = upstream.model_bytes if upstream is not None else b""
        return first + self._relay.answer_lines(chosen, self._served_arm(chosen), model, self._attempts)

    def _served_arm(self, chosen: Plan) -> str:
        return Arm.BASELINE if self._fallen_back else chosen.assigned

    def make_record(self, outcome: str, cause: str, usage: Usage | None, ttft_s: float | None) -> Record:
        """The Record as it is now."""
        chosen, call, principal = self._plan, self._call, self._principal
        decision = chosen.decision if chosen else None
        return Record(
            self._request_id,
            time(),
            self.incoming.operation,
            chosen.feature if chosen else "",
            chosen.assigned if chosen else "",
            self._served_arm(chosen) if chosen and self._attempts else "",
            chosen.reason if chosen else "",
            (decision.unit_kind or "") if decision else "",
            decision.bucket if decision else -1,
            decision.revision if decision else 0,
            principal.tenant if principal else "",
            self._upstream.name if self._upstream else "",
            call.stream if call else False,
            self._status,
            outcome,
            cause,
            self._attempts,
            client_retries(self._headers),
            self._sent_s,
            ttft_s,
            perf_counter() - self.incoming.arrived_at_s,
            usage.prompt_tokens if usage else None,
            usage.completion_tokens if usage else None,
            principal.key_id if principal else "",
            self._endpoint.url if self._endpoint else "",
            self._failed[0],
            self._failed[1],
            self._trace,
            decision.hash_version if decision else 0,
            decision.unit_digest if decision else 0,
        )
