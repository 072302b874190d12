"""Places among the requests under way, and what the door took back when one leaves."""

from types import SimpleNamespace

import pytest

from gateway.core.admission.gate import Admission, Holder
from gateway.core.admission.limits import Limits, Price
from gateway.core.call import parse
from gateway.core.errors import ApiError
from gateway.core.routing import BYPASS, Plan, Principal
from gateway.core.shedding import Shedding
from gateway.core.sse import Usage
from gateway.door import Door
from gateway.settings import Settings
from gateway.tenants import Tenants

PRINCIPAL = Principal("key-1", "name", "acme", None, frozenset(), model_bypass=True)
PLAN = Plan("", BYPASS, BYPASS, None, "partner")
CALL = parse(b'{"model":"m","max_tokens":1000}', {}, "acme")
NOW_S = 1_000.0


class Guest:
    """Leaves as soon as it has started, if it is `brief`."""

    placed = False
    error: ApiError | None = None

    def __init__(self, door: Door, log: list[object], *, brief: bool = False) -> None:
        self.door, self.log, self.brief = door, log, brief

    def start(self) -> None:
        self.placed = True
        self.log.append(self)
        if self.brief:
            self.leave()

    def turn_away(self, error: ApiError) -> None:
        self.error = error
        self.leave()

    def enter(self, **headers: str) -> "Guest":
        sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        if self.door.enter(self, PRINCIPAL, CALL, sent):
            self.start()
        return self

    def leave(self) -> None:
        self.door.part(self, None, None, None, NOW_S, answered=False)


def door_of(places: int = 1, queue: int = 2, limits: Limits | None = None) -> Door:
    admission = Admission()
    if limits is not None:
        admission.replace([Holder("key-1", "acme", limits)], lambda _: Limits())
    shedding = Shedding(requests_max=places, queue_max=queue, queue_wait_s=2.0)
    return Door(Tenants(Settings()), admission, {"partner": Price(1.0, 2.0)}, shedding)


def test_who_comes_first_starts_first_and_who_has_gone_not_at_all() -> None:
    door, log = door_of(), []
    first, second, third = (Guest(door, log).enter() for _ in range(3))
    assert log == [first]
    second.leave()
    first.leave()
    assert log == [first, third]
    third.leave()
    assert (door.shedding.under_way, sum(door.shedding.waiting.values())) == (0, 0)


def test_a_full_queue_refuses_and_a_batch_request_gives_way() -> None:
    door, log = door_of(queue=1), []
    Guest(door, log).enter()
    batch = Guest(door, log).enter(x_glidepath_priority="batch")
    interactive = Guest(door, log).enter()
    refused = Guest(door, log).enter()
    for guest in (batch, refused):
        assert guest.error is not None
        assert (guest.error.status, guest.error.code, guest.error.retry_after_s) == (429, "overloaded", 2)
    assert interactive.error is None
    assert door.shedding.under_way == 1


def test_who_has_waited_too_long_is_sent_away() -> None:
    door, log = door_of(), []
    first, waiting = Guest(door, log).enter(), Guest(door, log).enter()
    door.sweep(0.0)
    assert waiting.error is None
    door.sweep(float("inf"))
    assert waiting.error is not None
    first.leave()
    assert (log, door.shedding.under_way) == ([first], 0)


def test_thousands_that_end_at_once_grow_no_stack() -> None:
    door, log = door_of(queue=5_000), []
    first = Guest(door, log).enter()
    for _ in range(5_000):
        Guest(door, log, brief=True).enter()
    first.leave()
    assert len(log) == 5_001
    assert door.shedding.under_way == 0


def test_without_limits_nothing_is_reserved() -> None:
    door = door_of()
    assert door.reserve(PRINCIPAL, CALL, 100, PLAN, NOW_S) is None
    assert door.lines("key-1", NOW_S) == b""


@pytest.mark.parametrize(
    ("usage", "answered", "tokens"),
    [(Usage(5, 2), True, 7), (None, True, 1_025), (None, False, 0)],
)
def test_what_was_used_is_charged_once(usage: Usage | None, tokens: int, *, answered: bool) -> None:
    door = door_of(limits=Limits(requests_per_minute=100, tokens_per_minute=100_000, concurrent_max=5))
    permit = door.reserve(PRINCIPAL, CALL, 100, PLAN, NOW_S)
    assert permit is not None
    guest = Guest(door, []).enter()
    for _ in range(2):
        door.settle(permit, "partner", usage, NOW_S, answered=answered)
    door.part(guest, permit, SimpleNamespace(name="partner"), usage, NOW_S, answered=answered)
    taken = {meter.quantity: meter.taken for meter in permit.subject.meters}
    assert taken == {"requests": 1, "tokens": tokens, "concurrent": 0}
    assert door.shedding.under_way == 0


def test_who_never_came_in_pays_nothing() -> None:
    door = door_of(limits=Limits(requests_per_minute=100, concurrent_max=5))
    permit = door.reserve(PRINCIPAL, CALL, 100, PLAN, NOW_S)
    assert permit is not None
    door.part(Guest(door, []), permit, None, None, NOW_S, answered=False)
    assert [meter.taken for meter in permit.subject.meters] == [0, 0]
    assert not permit.open


def test_a_request_that_can_never_fit_is_refused_for_good() -> None:
    door = door_of(limits=Limits(tokens_per_minute=10))
    with pytest.raises(ApiError) as caught:
        door.reserve(PRINCIPAL, CALL, 100, PLAN, NOW_S)
    assert (caught.value.status, caught.value.final) == (429, True)
    assert b"x-ratelimit-limit-tokens: 10\r\n" in door.lines("key-1", NOW_S)
