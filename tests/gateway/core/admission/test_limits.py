import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.admission.limits import (
    COMPLETION_DEFAULT_TOKENS,
    TOKENS_MAX,
    Estimate,
    Price,
    budget_microusd,
    cost_microusd,
    dearest_microusd,
    estimate,
)
from gateway.core.call import parse


def completion(fields: bytes) -> int:
    body = b'{"model":"m"%b}' % (b"," + fields if fields else b"")
    return estimate(parse(body, {}, None).fields, len(body)).completion_tokens


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (4_000, 1_000)])
def test_four_bytes_are_a_token_of_the_prompt(size: int, tokens: int) -> None:
    assert estimate({}, size) == Estimate(tokens, COMPLETION_DEFAULT_TOKENS)
    assert estimate({}, size).tokens == tokens + COMPLETION_DEFAULT_TOKENS


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        (b"", COMPLETION_DEFAULT_TOKENS),
        (b'"max_tokens":7', 7),
        (b'"max_completion_tokens":9,"max_tokens":7', 9),
        (b'"max_output_tokens":11', 11),
        (b'"max_tokens":0', 0),
        (b'"max_tokens":null', COMPLETION_DEFAULT_TOKENS),
        (b'"max_tokens":"many","max_output_tokens":3', 3),
        (b'"max_tokens":-1', COMPLETION_DEFAULT_TOKENS),
        (b'"max_tokens":7,"n":3', 21),
        (b'"max_tokens":7,"n":2,"best_of":5', 35),
        (b'"max_tokens":7,"n":"x"', 7),
        (b'"max_tokens":7,"n":0', 7),
        (b'"max_tokens":1,"n":99999999', 1_024),
        (b'"max_tokens":99999999999999999999', TOKENS_MAX),
        (b'"max_tokens":99999999999999999', TOKENS_MAX),
        (b'"max_tokens":2147483647,"n":9', TOKENS_MAX),
    ],
)
def test_the_answer_takes_what_the_caller_asks_for(fields: bytes, tokens: int) -> None:
    assert completion(fields) == tokens


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        (b'"a"', 1),
        (b'["a","b","c"]', 3),
        (b'[ "a" , "say \\"b\\"","" ]', 3),
        (b"[1,2,3]", 1),
        (b"[[1,2],[3]]", 2),
        (b"[]", 1),
        (b"[" + b",".join([b'"\\""'] * 5_000) + b"]", 7_500),
    ],
)
def test_each_prompt_of_a_list_gets_its_answer(prompt: bytes, count: int) -> None:
    assert completion(b'"max_tokens":10,"prompt":' + prompt) == 10 * count


def test_prompts_that_cannot_be_read_count_once() -> None:
    assert estimate({"max_tokens": Raw(b"10"), "prompt": Raw(b'["\\"a",')}, 0).completion_tokens == 10


@pytest.mark.parametrize(("input_usd", "output_usd", "microusd"), [(0, 0, 0), (2.5, 10, 7_500), (0.05, 0, 50)])
def test_dollars_per_million_are_millionths_per_token(input_usd: float, output_usd: float, microusd: int) -> None:
    assert cost_microusd(Price(input_usd, output_usd), 1_000, 500) == microusd


def test_a_part_of_a_millionth_is_a_whole_one() -> None:
    assert cost_microusd(Price(0.05, 0), 1, 0) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.floats(0, 100), min_size=2, max_size=4))
def test_the_dearest_covers_whoever_answers(prompt: int, answer: int, usd: list[float]) -> None:
    prices = [Price(usd[0], usd[1]), Price(usd[-1], usd[-2])]
    dearest = dearest_microusd(Estimate(prompt, answer), *prices)
    assert dearest in {cost_microusd(price, prompt, answer) for price in prices}
    assert all(cost_microusd(price, prompt, answer) <= dearest for price in prices)


def test_without_a_price_nothing_is_reserved() -> None:
    assert dearest_microusd(Estimate(5, 5)) == 0


@pytest.mark.parametrize(("usd", "microusd"), [(None, None), (0.0, 0), (0.29, 290_000), (1_000_000_000.0, 10**15)])
def test_budgets_are_counted_in_millionths(usd: float | None, microusd: int | None) -> None:
    assert budget_microusd(usd) == microusd
