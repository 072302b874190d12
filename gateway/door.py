"""Who may come in, and when: limits of key and tenant first, then a place among the requests under way."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from gateway.core.admission.answers import is_final, ratelimit_lines, refused
from gateway.core.admission.gate import Refusal, charge
from gateway.core.admission.limits import Price, dearest_microusd, estimate
from gateway.core.shedding import Decision, Priority, Shedding, overloaded, priority_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.admission.gate import Admission, Permit
    from gateway.core.call import Call
    from gateway.core.errors import ApiError
    from gateway.core.routing import Plan, Principal
    from gateway.core.sse import Usage
    from gateway.tenants import Tenants

_FREE = Price()


class Guest(Protocol):
    """A request at the door; told apart by identity."""

    placed: bool
    """Whether it has been started."""

    def __hash__(self) -> int:
        """As every object has it."""
        ...

    def start(self) -> None:
        """Its place is free."""
        ...

    def turn_away(self, error: ApiError) -> None:
        """There is no place for it, or none in time."""
        ...


class Named(Protocol):
    """An upstream, as prices are found by it."""

    @property
    def name(self) -> str:
        """As the configuration has it."""
        ...


class Door:
    """Admission of one worker. Nothing here waits for a store."""

    def __init__(
        self, tenants: Tenants, admission: Admission, prices: Mapping[str, Price], shedding: Shedding[Guest]
    ) -> None:
        self.tenants = tenants
        self.admission = admission
        self.shedding = shedding
        self._prices = prices
        self._starting = False
        self._turn: deque[Guest] = deque()

    def reserve(self, principal: Principal, call: Call, body_bytes: int, chosen: Plan, now_s: float) -> Permit | None:
        """Take the request's share of every limit, None if it has none (`now_s`: Unix time). Raises `ApiError` 429."""
        subject = self.admission.subjects.get(principal.key_id)
        if subject is None:
            return None
        expected = estimate(call.fields, body_bytes)
        prices = (self._prices.get(name, _FREE) for name in (chosen.upstream, chosen.fallback))
        permit = self.admission.admit(subject, expected.tokens, dearest_microusd(expected, *prices), now_s)
        if isinstance(permit, Refusal):
            error = refused(permit)
            error.final = is_final(permit)
            raise error
        return permit

    def settle(self, permit: Permit, upstream: str, usage: Usage | None, now_s: float, *, answered: bool) -> None:
        """Charge what was used of a permit; harmless when it is settled already."""
        prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
        price = self._prices.get(upstream, _FREE)
        tokens, microusd = charge(permit, price, prompt, completion, answered=answered)
        self.admission.settle(permit, tokens, microusd, now_s)

    def lines(self, key_id: str, now_s: float) -> bytes:
        """`x-ratelimit-*` header lines of a caller that has limits."""
        subject = self.admission.subjects.get(key_id)
        return b"" if subject is None else ratelimit_lines(subject, now_s)

    def enter(self, guest: Guest, principal: Principal, call: Call, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the guest has a place now. If not, it waits for `start` or `turn_away`, which may come at once."""
        if self.shedding.take_place():
            return True
        priority = priority_of(
            principal.priority,
            self.tenants.of(principal.tenant).priority,
            header=headers.get(b"x-glidepath-priority"),
            service_tier=call.fields.get("service_tier"),
        )
        offer = self.shedding.offer(guest, Priority(priority), perf_counter())
        if offer.decision is Decision.START:  # pragma: no cover - take_place() has just said no
            return True
        if offer.displaced is not None:
            offer.displaced.turn_away(self._overloaded())
        if offer.decision is Decision.REFUSED:
            guest.turn_away(self._overloaded())
        return False

    def part(
        self,
        guest: Guest,
        permit: Permit | None,
        upstream: Named | None,
        usage: Usage | None,
        now_s: float,
        *,
        answered: bool,
    ) -> None:
        """Take all back that a guest got here, whether it ever came in or not: its permit, and its place."""
        try:
            if permit is None:
                return
            if guest.placed:
                name = "" if upstream is None else upstream.name
                self.settle(permit, name, usage, now_s, answered=answered)
            else:
                self.admission.withdraw(permit, now_s)
        finally:
            self.leave(guest)

    def leave(self, guest: Guest) -> None:
        """The guest is done, or has gone without a place; who waits longest comes in."""
        if not guest.placed:
            self.shedding.leave(guest)
            return
        following = self.shedding.release(perf_counter())
        if following is None:
            return
        # One that fails at once leaves at once: a loop, so that no chain of them grows the stack.
        self._turn.append(following)
        if self._starting:
            return
        self._starting = True
        try:
            while self._turn:
                self._turn.popleft().start()
        finally:
            self._starting = False

    def sweep(self, now_s: float) -> None:
        """Send away who has waited too long (`now_s`: perf_counter)."""
        for guest in self.shedding.expire(now_s):
            guest.turn_away(self._overloaded())

    def _overloaded(self) -> ApiError:
        return overloaded(self.shedding.retry_after_s)
