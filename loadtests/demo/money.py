"""What the moving feature's ramp saved, as the operator API reckons it (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.demo.judge import Verdict
from loadtests.demo.plan import MOVING


class Saved(NamedTuple):
    """US dollars with their 95 % interval, None where nothing tells it."""

    usd: float
    lower_usd: float | None
    upper_usd: float | None
    per_day_usd: float | None

    def __str__(self) -> str:
        """Return amount and interval: "$0.0512 [$0.0501, $0.0523]"."""
        if self.lower_usd is None or self.upper_usd is None:
            return f"${self.usd:.4f}"
        return f"${self.usd:.4f} [${self.lower_usd:.4f}, ${self.upper_usd:.4f}]"


class Money(NamedTuple):
    """What a request of each arm costs, and what was saved: so far, and had the candidate answered everything."""

    candidate_usd: float | None
    baseline_usd: float | None
    so_far: Saved | None
    in_full: Saved | None
    warnings: Sequence[str]


def money_of(answer: Mapping[str, Any]) -> Money:
    """Read the cost of a feature as the operator API shows it."""
    return Money(
        answer["candidate"]["per_request_usd"],
        answer["baseline"]["per_request_usd"],
        _saved(answer["saved"]),
        _saved(answer["saved_in_full"]),
        tuple(answer["warnings"]),
    )


def money_saved(money: Money, *, priced: bool) -> Verdict:
    """Check that the ramp saved money, interval included; without a price for the partner none can be counted."""
    check = f"ramp of {MOVING} saves money"
    if not priced:
        return Verdict(check, ok=True, found="SKIPPED: nobody told what this partner charges", skipped=True)
    if money.so_far is None:
        return Verdict(check, ok=False, found="nothing was counted")
    saved = money.so_far
    return Verdict(check, saved.lower_usd is not None and saved.lower_usd > 0, f"{saved} so far")


def _saved(given: Mapping[str, Any] | None) -> Saved | None:
    return None if given is None else Saved(*(given[name] for name in Saved._fields))
