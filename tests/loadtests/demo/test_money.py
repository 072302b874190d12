from typing import Any

import pytest

from loadtests.demo.money import Money, Saved, money_of, money_saved

SAVED = {"usd": 0.05, "lower_usd": 0.04, "upper_usd": 0.06, "per_day_usd": 40.0, "extrapolated": 3}
ANSWER: dict[str, Any] = {
    "feature": "summarize",
    "candidate": {"per_request_usd": 1e-5, "requests": 3},
    "baseline": {"per_request_usd": 6e-5, "requests": 4},
    "saved": SAVED,
    "saved_in_full": None,
    "warnings": ["w"],
}


def test_the_cost_of_a_feature_is_read() -> None:
    assert money_of(ANSWER) == Money(1e-5, 6e-5, Saved(0.05, 0.04, 0.06, 40.0), None, ("w",))


def test_an_amount_is_shown_with_its_interval() -> None:
    assert str(Saved(0.05, 0.04, 0.06, None)) == "$0.0500 [$0.0400, $0.0600]"
    assert str(Saved(0.05, None, 0.06, None)) == "$0.0500"


@pytest.mark.parametrize(("changes", "ok"), [({}, True), ({"lower_usd": -0.01}, False), ({"lower_usd": None}, False)])
def test_the_whole_interval_must_be_a_saving(changes: dict[str, object], ok: bool) -> None:  # noqa: FBT001  a table
    money = money_of(ANSWER | {"saved": SAVED | changes})
    verdict = money_saved(money, priced=True)
    assert verdict.ok is ok
    assert verdict.found.startswith("$0.0500")


def test_nothing_counted_is_no_saving() -> None:
    assert not money_saved(money_of(ANSWER | {"saved": None}), priced=True).ok


def test_a_partner_without_a_price_is_skipped() -> None:
    verdict = money_saved(money_of(ANSWER), priced=False)
    assert verdict.ok
    assert verdict.skipped
