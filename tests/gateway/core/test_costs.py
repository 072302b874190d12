"""What is added up in place is what `cost.one` gives, request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.costs import Costs
from gateway.core.outcome import Outcome
from gateway.core.shadowing import Answered
from gateway.core.sse import Usage
from rollout.core.cost import TokenPrice, add, one
from rollout.core.sums import SumKey
from tests.gateway.test_recorder import RECORD

if TYPE_CHECKING:
    from gateway.core.outcome import Record

KEYS = [SumKey("draft", 1, name) for name in ("a", "b", "c")]
PRICES = {"inhouse": TokenPrice(), "partner": TokenPrice(2_500_000, 10_000_000)}
TOKENS = st.none() | st.integers(0, 2**53)
RECORDS = st.builds(
    lambda upstream, prompt, completion, outcome, status: replace(
        RECORD,
        upstream=upstream,
        prompt_tokens=prompt,
        completion_tokens=completion,
        outcome=outcome.value,
        status=status,
    ),
    st.sampled_from([*PRICES, "gone"]),
    TOKENS,
    TOKENS,
    st.sampled_from(Outcome),
    st.sampled_from([0, 200, 400, 503]),
)


@given(st.lists(RECORDS))
def test_the_sums_are_those_of_each_request(records: list[Record]) -> None:
    costs = Costs(PRICES)
    for record in records:
        costs.count(KEYS[0], record)
    expected = add(
        one(
            PRICES.get(record.upstream, TokenPrice()),
            record.prompt_tokens,
            record.completion_tokens,
            accepted=record.outcome == "ok",
            answered=record.status == 200,
        )
        for record in records
    )
    assert bool(costs) is bool(records)
    assert costs.take(9) == ({KEYS[0]: expected} if records else {})
    assert not costs


def test_a_shadow_call_without_token_counts_is_unmetered() -> None:
    costs = Costs(PRICES)
    answered = Answered("baseline", "partner", "text", Usage(10, 1), None, 0.1)
    costs.count_shadow(KEYS[0], answered)
    costs.count_shadow(KEYS[0], replace(answered, usage=None))
    price = PRICES["partner"]
    assert costs.take(1) == {KEYS[0]: add([one(price, 10, 1, accepted=True), one(price, None, None, accepted=True)])}


def test_no_more_keys_are_taken_than_asked_for() -> None:
    costs = Costs(PRICES)
    for key in KEYS:
        costs.count(key, RECORD)
    assert list(costs.take(2)) == KEYS[:2]
    assert costs
    assert list(costs.take(2)) == KEYS[2:]
