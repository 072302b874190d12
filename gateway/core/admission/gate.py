"""Whether a caller may go on, by all limits of its key and its tenant: reserve before, settle after.

Nothing here waits: a request takes from what this worker holds. `admit` takes of every meter or of none.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.core.admission.leasing import Leasing
from gateway.core.admission.limits import cost_microusd
from gateway.core.admission.meter import CONCURRENT, MONEY, REQUESTS, TOKENS, Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.admission.limits import Limits, Price, Quantity, Scope

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


class _Known(NamedTuple):
    """The limits of one key or tenant, and their meters."""

    limits: Limits
    meters: tuple[Meter, ...]


class Subject(NamedTuple):
    """All meters that a key's requests pass, its tenant's included; never empty. The rest are parts of the same."""

    meters: tuple[Meter, ...]
    requests: tuple[Meter, ...]
    tokens: tuple[Meter, ...]
    key: _Known
    tenant: _Known


class Permit(msgspec.Struct, gc=False):
    """What one request has reserved since `at_s` (Unix time); to be settled or withdrawn, once."""

    subject: Subject
    at_s: float
    tokens: int
    microusd: int
    open: bool = True


def charge(
    permit: Permit, price: Price, prompt_tokens: int | None, completion_tokens: int | None, *, answered: bool
) -> tuple[int, int]:
    """Tokens and money to settle with, at the price of the upstream that served.

    What it reported; else all that was reserved if an answer had begun (cut, or the caller left), nothing if none had.
    """
    if prompt_tokens is None or completion_tokens is None:
        return (permit.tokens, permit.microusd) if answered else (0, 0)
    return prompt_tokens + completion_tokens, cost_microusd(price, prompt_tokens, completion_tokens)


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
    """The meters of one worker. `workers`: how many share each limit until the store has been heard.

    `subjects`: by key id, those that are limited at all. `refused`: refusals by (scope, quantity).
    """

    def __init__(self, *, workers: int = 1, wake: Callable[[], None] = lambda: None) -> None:
        self._workers = workers
        self._keys: dict[str, _Known] = {}
        self._tenants: dict[str, _Known] = {}
        self.leasing = Leasing(wake)
        self.subjects: dict[str, Subject] = {}
        self.refused: dict[tuple[Scope, Quantity], int] = {}

    def replace(self, holders: Iterable[Holder], limits_of_tenant: Callable[[str], Limits]) -> None:
        """Take over all keys. What is known of limits that stay is kept; limits that are gone give back their blocks.

        Budgets get a block before the first request. Keys that didn't change cost little: there may be thousands.
        """
        keys: dict[str, _Known] = {}
        tenants: dict[str, _Known] = {}
        subjects: dict[str, Subject] = {}
        for key_id, tenant_name, limits in holders:
            tenant = tenants.get(tenant_name)
            if tenant is None:
                tenant = self._known("tenant", tenant_name, limits_of_tenant(tenant_name), self._tenants)
                tenants[tenant_name] = tenant
            key = keys[key_id] = self._known("key", key_id, limits, self._keys)
            if key.meters or tenant.meters:
                subject = self.subjects.get(key_id)
                if subject is None or subject.key is not key or subject.tenant is not tenant:
                    subject = _subject(key, tenant)
                subjects[key_id] = subject
        self._retire(self._keys, keys)
        self._retire(self._tenants, tenants)
        self._keys, self._tenants, self.subjects = keys, tenants, subjects

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
        if meter.may_owe(amount, self._workers, down=leasing.down):
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

    def _known(self, scope: Scope, name: str, limits: Limits, known: dict[str, _Known]) -> _Known:
        """The meters of a key or a tenant: as they are, or, where a limit is new or another one, adapted."""
        old = known.get(name)
        if old is not None and old.limits == limits:
            return old
        of_slot = {
            REQUESTS: limits.requests_per_minute,
            TOKENS: limits.tokens_per_minute,
            MONEY: limits.budget_microusd_per_day,
            CONCURRENT: limits.concurrent_max,
        }
        by_slot = {meter.slot: meter for meter in old.meters} if old is not None else {}
        meters: list[Meter] = []
        for slot, limit in of_slot.items():
            if limit is not None:
                meter = by_slot.get(slot) or self._new_meter(scope, name, slot, limit)
                meter.limit = limit
                meters.append(meter)
        return _Known(limits, tuple(meters))

    def _new_meter(self, scope: Scope, name: str, slot: int, limit: int) -> Meter:
        meter = Meter(scope, name, slot, limit)
        if slot == MONEY:
            self.leasing.keep(meter)
        return meter

    def _retire(self, before: dict[str, _Known], now: dict[str, _Known]) -> None:
        for name, old in before.items():
            new = now.get(name)
            if new is not old:
                for meter in old.meters:
                    if new is None or meter not in new.meters:
                        meter.retired = True
                        self.leasing.need(meter)


def _subject(key: _Known, tenant: _Known) -> Subject:
    ordered = tuple(meter for slot in _ORDER for meter in (*key.meters, *tenant.meters) if meter.slot == slot)
    return Subject(
        ordered,
        tuple(meter for meter in ordered if meter.slot == REQUESTS),
        tuple(meter for meter in ordered if meter.slot == TOKENS),
        key,
        tenant,
    )
