"""Whether a caller may go on, by all limits of its key and its tenant: reserve before, settle after.

Nothing here waits: a request takes from what this worker holds. `admit` takes of every meter or of none.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.core.admission.leasing import Leasing
from gateway.core.admission.meter import CONCURRENT, MONEY, REQUESTS, TOKENS, Meter, meter_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.admission.limits import Limits, Quantity, Scope

EXHAUSTED: Final = "exhausted"
UNCONFIRMED: Final = "unconfirmed"
TOO_LARGE: Final = "too_large"
_RETRY_S = 1
# Which refusal is told, if there are several: the most lasting.
_ORDER = (MONEY, REQUESTS, TOKENS, CONCURRENT)


class Holder(NamedTuple):
    """A key as far as limits go."""

    key_id: str
    tenant: str
    limits: Limits


class Subject(NamedTuple):
    """All meters that a key's requests pass, its tenant's included; never empty."""

    meters: tuple[Meter, ...]
    requests: tuple[Meter, ...]
    tokens: tuple[Meter, ...]


class Permit(msgspec.Struct, gc=False):
    """What one request has reserved since `at_s` (Unix time); to be settled or withdrawn, once."""

    subject: Subject
    at_s: float
    tokens: int
    microusd: int
    open: bool = True


class Refusal(NamedTuple):
    """Which limit stands in the way, and when it is worth coming back (seconds).

    `cause`: "exhausted"; "unconfirmed", when this worker has no block and the store must be asked first; "too_large",
    when the request would not fit into an unused window.
    """

    scope: Scope
    subject: str
    quantity: Quantity
    limit: int
    amount: int
    cause: str
    retry_after_s: int


class Admission:
    """The meters of one worker. `workers`: how many share each limit, for when the store is down.

    `subjects`: by key id, those that are limited at all. `refused`: refusals by (scope, quantity).
    """

    def __init__(self, *, workers: int = 1, wake: Callable[[], None] = lambda: None) -> None:
        self._workers = workers
        self._meters: dict[str, Meter] = {}
        self.leasing = Leasing(wake)
        self.subjects: dict[str, Subject] = {}
        self.refused: dict[tuple[Scope, Quantity], int] = {}

    def replace(self, holders: Iterable[Holder], limits_of_tenant: Callable[[str], Limits]) -> None:
        """Take over all keys. What is known of limits that stay is kept; limits that are gone give back their blocks.

        Budgets get a block before the first request.
        """
        known, self._meters = self._meters, {}
        tenants: dict[str, tuple[Meter, ...]] = {}
        subjects: dict[str, Subject] = {}
        for holder in holders:
            if holder.tenant not in tenants:
                limits = limits_of_tenant(holder.tenant)
                tenants[holder.tenant] = self._adopt(known, "tenant", holder.tenant, limits)
            meters = self._adopt(known, "key", holder.key_id, holder.limits) + tenants[holder.tenant]
            if meters:
                subjects[holder.key_id] = _subject(meters)
        self.subjects = subjects
        for name, meter in known.items():
            if name not in self._meters:
                meter.retired = True
                self.leasing.need(meter)

    def admit(self, subject: Subject, tokens: int, microusd: int, now_s: float) -> Permit | Refusal:
        """Reserve one request of that many tokens and that price. `now_s`: Unix time."""
        amounts = (1, tokens, microusd, 1)
        meters = subject.meters
        for meter in meters:
            amount = amounts[meter.slot]
            if meter.free < amount or now_s >= meter.until_s:
                refusal = self._cover(meter, amount, now_s)
                if refusal is not None:
                    return refusal
        for meter in meters:
            meter.free -= amounts[meter.slot]
        return Permit(subject, now_s, tokens, microusd)

    def settle(self, permit: Permit, tokens: int, microusd: int, now_s: float) -> None:
        """The request is over and has used this much; settling again changes nothing."""
        if permit.open:
            self._give_back(permit, (0, permit.tokens - tokens, permit.microusd - microusd, 1), now_s)

    def withdraw(self, permit: Permit, now_s: float) -> None:
        """The request was never begun: it shall not count."""
        if permit.open:
            self._give_back(permit, (1, permit.tokens, permit.microusd, 1), now_s)

    def _give_back(self, permit: Permit, amounts: tuple[int, ...], now_s: float) -> None:
        """Correct the meters; what a window that is over has left is nobody's, what it lacks is the next one's."""
        permit.open = False
        for meter in permit.subject.meters:
            amount = amounts[meter.slot]
            if not amount:
                continue
            if now_s >= meter.until_s:
                meter.roll(now_s)
            if amount < 0 or meter.slot == CONCURRENT or not meter.begun_after(permit.at_s):
                meter.free += amount
                if not meter.active:
                    self.leasing.use(meter)

    def _cover(self, meter: Meter, amount: int, now_s: float) -> Refusal | None:
        """A meter that is short: go over to the new window, or owe, or refuse."""
        meter.roll(now_s)
        if meter.free >= amount:
            return None
        if amount > meter.limit > 0:
            return self._refuse(meter, amount, TOO_LARGE, _RETRY_S)
        meter.moved_at_s = now_s
        meter.peak = max(meter.peak, amount)
        leasing = self.leasing
        if meter.may_owe(amount, self._workers if leasing.down else 0):
            leasing.need(meter)
            return None
        meter.wanted += amount
        if not meter.exhausted:
            leasing.need(meter)
            return self._refuse(meter, amount, UNCONFIRMED, _RETRY_S)
        leasing.use(meter)
        wait_s = _RETRY_S if meter.slot == CONCURRENT else max(_RETRY_S, ceil(meter.until_s - now_s))
        return self._refuse(meter, amount, EXHAUSTED, wait_s)

    def _refuse(self, meter: Meter, amount: int, cause: str, retry_after_s: int) -> Refusal:
        key = (meter.scope, meter.quantity)
        self.refused[key] = self.refused.get(key, 0) + 1
        return Refusal(meter.scope, meter.subject, meter.quantity, meter.limit, amount, cause, retry_after_s)

    def _adopt(self, known: dict[str, Meter], scope: Scope, name: str, limits: Limits) -> tuple[Meter, ...]:
        of_slot = {
            REQUESTS: limits.requests_per_minute,
            TOKENS: limits.tokens_per_minute,
            MONEY: limits.budget_microusd_per_day,
            CONCURRENT: limits.concurrent_max,
        }
        set_limits = [(slot, limit) for slot, limit in of_slot.items() if limit is not None]
        return tuple(self._meter(known, scope, name, slot, limit) for slot, limit in set_limits)

    def _meter(self, known: dict[str, Meter], scope: Scope, subject: str, slot: int, limit: int) -> Meter:
        name = meter_name(scope, subject, slot)
        meter = known.get(name)
        if meter is not None:
            meter.limit = limit
        else:
            meter = Meter(scope, subject, slot, limit)
            if slot == MONEY:
                self.leasing.keep(meter)
        self._meters[name] = meter
        return meter


def _subject(meters: tuple[Meter, ...]) -> Subject:
    ordered = tuple(meter for slot in _ORDER for meter in meters if meter.slot == slot)
    return Subject(
        ordered,
        tuple(meter for meter in ordered if meter.slot == REQUESTS),
        tuple(meter for meter in ordered if meter.slot == TOKENS),
    )
