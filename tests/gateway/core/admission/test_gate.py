import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.gate import (
    EXHAUSTED,
    TOO_LARGE,
    UNCONFIRMED,
    Admission,
    Holder,
    Permit,
    Refusal,
    Subject,
    charge,
)
from gateway.core.admission.leasing import Leasing
from gateway.core.admission.limits import Limits, Price
from gateway.core.admission.meter import CONCURRENT, MONEY, REQUESTS, TOKENS, Meter

NOW_S = 1_800_000_000.0
FULL = Limits(100, 10_000, 10, 1_000_000)


def stocked(key: Limits, tenant: Limits | None = None) -> tuple[Admission, Subject]:
    """An admission that holds the whole of every limit."""
    admission = Admission()
    admission.replace([Holder("k", "t", key)], lambda _: tenant or Limits())
    subject = admission.subjects["k"]
    for meter in subject.meters:
        meter.roll(NOW_S)
        meter.granted = meter.free = meter.used = meter.limit
    return admission, subject


def admitted(admission: Admission, subject: Subject, tokens: int = 0, microusd: int = 0) -> Permit:
    permit = admission.admit(subject, tokens, microusd, NOW_S)
    assert isinstance(permit, Permit)
    return permit


def denied(admission: Admission, subject: Subject, tokens: int = 0, microusd: int = 0) -> Refusal:
    refusal = admission.admit(subject, tokens, microusd, NOW_S)
    assert isinstance(refusal, Refusal)
    return refusal


def free(subject: Subject) -> dict[str, int]:
    return {f"{meter.scope} {meter.quantity}": meter.free for meter in subject.meters}


def test_who_has_no_limits_is_no_subject() -> None:
    admission = Admission()
    admission.replace([Holder("k", "t", Limits())], lambda _: Limits())
    assert admission.subjects == {}


def test_a_request_reserves_of_key_and_tenant_and_settles_with_what_it_used() -> None:
    admission, subject = stocked(FULL, FULL)
    permit = admitted(admission, subject, 500, 7_000)
    taken = {"requests": 99, "tokens": 9_500, "concurrent": 9, "budget": 993_000}
    assert free(subject) == {f"{scope} {name}": left for scope in ("key", "tenant") for name, left in taken.items()}
    admission.settle(permit, 120, 9_000, NOW_S)
    settled = {"requests": 99, "tokens": 9_880, "concurrent": 10, "budget": 991_000}
    assert free(subject) == {f"{scope} {name}": left for scope in ("key", "tenant") for name, left in settled.items()}


@pytest.mark.parametrize(
    ("prompt", "completion", "answered", "charged"),
    [
        (100, 20, True, (120, 450)),
        (100, 20, False, (120, 450)),
        (0, 0, True, (0, 0)),
        (None, None, True, (500, 7_000)),
        (100, None, True, (500, 7_000)),
        (None, None, False, (0, 0)),
    ],
)
def test_an_answer_that_never_said_what_it_took_is_charged_as_reserved(
    *, prompt: int | None, completion: int | None, answered: bool, charged: tuple[int, int]
) -> None:
    admission, subject = stocked(FULL)
    permit = admitted(admission, subject, 500, 7_000)
    assert charge(permit, Price(2.5, 10), prompt, completion, answered=answered) == charged


def test_settling_twice_changes_nothing() -> None:
    admission, subject = stocked(FULL)
    permit = admitted(admission, subject, 500, 7_000)
    admission.settle(permit, 0, 0, NOW_S)
    once = free(subject)
    admission.settle(permit, 0, 0, NOW_S)
    admission.withdraw(permit, NOW_S)
    assert free(subject) == once


def test_a_withdrawn_request_never_was() -> None:
    admission, subject = stocked(FULL, FULL)
    before = free(subject)
    permit = admitted(admission, subject, 500, 7_000)
    admission.withdraw(permit, NOW_S)
    admission.settle(permit, 500, 7_000, NOW_S)
    assert free(subject) == before


@pytest.mark.parametrize("slot", [REQUESTS, TOKENS, MONEY, CONCURRENT])
@pytest.mark.parametrize("scope", ["key", "tenant"])
def test_what_one_limit_refuses_is_taken_of_no_other(slot: int, scope: str) -> None:
    admission, subject = stocked(FULL, FULL)
    (short,) = (meter for meter in subject.meters if (meter.slot, meter.scope) == (slot, scope))
    short.free = 0
    before = free(subject)
    refusal = denied(admission, subject, 500, 7_000)
    assert (refusal.scope, refusal.quantity, refusal.limit) == (scope, short.quantity, short.limit)
    assert refusal.subject == ("k" if scope == "key" else "t")
    assert (refusal.cause, free(subject)) == (EXHAUSTED, before)
    assert admission.refused == {(scope, short.quantity): 1}


def test_the_most_lasting_refusal_is_told() -> None:
    admission, subject = stocked(FULL, FULL)
    for meter in subject.meters:
        meter.free = 0
    assert denied(admission, subject, 1, 1).quantity == "budget"
    denied(admission, subject, 1, 1)
    assert admission.refused == {("key", "budget"): 2}


def test_a_used_up_rate_is_worth_a_try_when_its_window_ends() -> None:
    admission, subject = stocked(Limits(requests_per_minute=1))
    (meter,) = subject.meters
    admitted(admission, subject)
    refusal = denied(admission, subject)
    assert refusal.cause == EXHAUSTED
    assert 0 <= refusal.retry_after_s - (meter.until_s - NOW_S) < 1
    assert admission.admit(subject, 0, 0, meter.until_s).__class__ is Permit


def test_a_slot_may_be_free_any_moment() -> None:
    admission, subject = stocked(Limits(concurrent_max=2))
    permits = [admitted(admission, subject) for _ in range(2)]
    refusal = denied(admission, subject)
    assert (refusal.quantity, refusal.cause, refusal.retry_after_s) == ("concurrent", EXHAUSTED, 1)
    admission.settle(permits[0], 0, 0, NOW_S)
    admitted(admission, subject)


@pytest.mark.parametrize(
    ("limits", "quantity"), [(Limits(None, 10), "tokens"), (Limits(None, None, None, 10), "budget")]
)
def test_what_never_fits_is_said_to(limits: Limits, quantity: str) -> None:
    admission, subject = stocked(limits)
    refusal = denied(admission, subject, 11, 11)
    assert (refusal.cause, refusal.quantity, refusal.amount) == (TOO_LARGE, quantity, 11)
    admitted(admission, subject, 10, 10)


def test_a_budget_of_nothing_allows_what_costs_nothing() -> None:
    admission, subject = stocked(Limits(budget_microusd_per_day=0))
    assert denied(admission, subject, 5, 1).cause == EXHAUSTED
    admitted(admission, subject, 5, 0)


def test_before_the_first_lease_a_rate_may_owe_and_a_budget_may_not() -> None:
    calls: list[str] = []
    admission = Admission(wake=lambda: calls.append("wake"))
    rate, money = Limits(requests_per_minute=10), Limits(budget_microusd_per_day=10)
    admission.replace([Holder("rate", "t", rate), Holder("money", "t", money)], lambda _: Limits())
    assert calls == ["wake"]
    admission.leasing.plan(NOW_S)
    admitted(admission, admission.subjects["rate"])
    assert calls == ["wake", "wake"]
    for _ in range(9):
        admitted(admission, admission.subjects["rate"])
    assert denied(admission, admission.subjects["rate"]).cause == UNCONFIRMED
    refusal = denied(admission, admission.subjects["money"], 0, 1)
    assert (refusal.cause, refusal.retry_after_s) == (UNCONFIRMED, 1)


def test_a_permit_of_an_older_window_gives_nothing_to_the_new_one_but_its_slot() -> None:
    admission, subject = stocked(FULL)
    permit = admitted(admission, subject, 500, 7_000)
    later_s = NOW_S + 86_400
    admission.settle(permit, 100, 1_000, later_s)
    assert free(subject) == {"key requests": 99, "key tokens": 0, "key budget": 0, "key concurrent": 0}


def test_a_new_window_is_entered_with_the_block_that_was_leased_ahead() -> None:
    calls: list[str] = []
    admission, subject = stocked(Limits(requests_per_minute=100))
    admission.leasing = Leasing(lambda: calls.append("wake"))
    (meter,) = subject.meters
    meter.next_granted, meter.next_used = 7, 30
    assert isinstance(admission.admit(subject, 0, 0, meter.until_s), Permit)
    assert (meter.free, meter.used, calls) == (6, 30, [])


def test_a_late_settlement_brings_an_idle_meter_back_into_the_rounds() -> None:
    admission, subject = stocked(Limits(tokens_per_minute=10_000))
    permit = admitted(admission, subject, 500)
    assert not subject.meters[0].active
    admission.settle(permit, 100, 0, NOW_S + 1)
    assert subject.meters[0].active
    (given_back,) = admission.leasing.plan(NOW_S + 1)
    assert given_back.ask.amount < -9_000


def test_what_was_used_beyond_the_reservation_is_charged_to_the_window_of_the_end() -> None:
    admission, subject = stocked(FULL)
    permit = admitted(admission, subject, 500, 7_000)
    admission.settle(permit, 800, 9_000, NOW_S + 86_400)
    of = {meter.slot: meter for meter in subject.meters}
    assert (of[TOKENS].free, of[MONEY].free) == (-300, -2_000)


def test_new_limits_keep_what_is_known_and_removed_ones_give_back() -> None:
    admission, subject = stocked(Limits(100, 10_000), Limits(concurrent_max=5))
    old = {meter.name: meter for meter in subject.meters}
    permit = admitted(admission, subject, 500)
    admission.replace([Holder("k", "t", Limits(200))], lambda _: Limits(concurrent_max=5))
    meters = {meter.name: meter for meter in admission.subjects["k"].meters}
    assert set(meters) == {"key:k:requests", "tenant:t:concurrent"}
    assert all(old[name] is meter for name, meter in meters.items())
    assert (meters["key:k:requests"].limit, meters["key:k:requests"].free) == (200, 99)
    assert old["key:k:tokens"].retired
    asks = {each.ask.name: each.ask.amount for each in admission.leasing.plan(NOW_S + 1)}
    assert asks["key:k:tokens"] == -9_500
    admission.settle(permit, 0, 0, NOW_S)
    assert meters["tenant:t:concurrent"].free == 5
    admission.replace([], lambda _: Limits())
    assert admission.subjects == {}


def test_a_key_that_did_not_change_is_left_alone() -> None:
    admission = Admission()
    holders = [Holder("a", "t", FULL), Holder("b", "t", FULL)]
    admission.replace(holders, lambda _: FULL)
    before = dict(admission.subjects)
    admission.replace([holders[0], Holder("b", "other", FULL)], lambda _: FULL)
    assert admission.subjects["a"] is before["a"]
    assert admission.subjects["b"] is not before["b"]
    assert set(before["b"].key.meters) < set(admission.subjects["b"].meters)


def test_keys_of_one_tenant_share_its_meters() -> None:
    admission = Admission()
    admission.replace([Holder("a", "t", FULL), Holder("b", "t", Limits())], lambda _: FULL)
    a, b = (admission.subjects[key].meters for key in "ab")
    assert [meter for meter in a if meter.scope == "tenant"] == list(b)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "settle", "withdraw"]),
        st.integers(0, 400),
        st.integers(0, 400),
        st.floats(0, 40),
    ),
    max_size=60,
)


@given(_STEPS)
def test_nothing_leaks_whatever_comes(steps: list[tuple[str, int, int, float]]) -> None:
    """Slots under way are exactly the open permits; when all are settled none is."""
    admission, subject = stocked(FULL, Limits(concurrent_max=3))
    slots = [meter for meter in subject.meters if meter.slot == CONCURRENT]
    now_s, permits = NOW_S, [Permit(subject, NOW_S, 0, 0, open=False)]
    for what, amount, used, pause_s in steps:
        now_s += pause_s
        if what == "admit":
            _restock(slots, now_s)
            permit = admission.admit(subject, amount, amount, now_s)
            permits += [permit] if isinstance(permit, Permit) else []
        elif what == "settle":
            admission.settle(permits[amount % len(permits)], used, used, now_s)
        else:
            admission.withdraw(permits[amount % len(permits)], now_s)
        assert [meter.taken for meter in slots] == [sum(permit.open for permit in permits)] * 2
    for permit in permits:
        admission.settle(permit, 0, 0, now_s)
    assert [meter.taken for meter in slots] == [0, 0]


def _restock(slots: list[Meter], now_s: float) -> None:
    for meter in slots:
        meter.roll(now_s)
        meter.free += meter.limit - meter.granted
        meter.granted = meter.limit
