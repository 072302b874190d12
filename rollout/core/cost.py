"""What requests cost, arm against arm: exact money per request and accepted answer, GPU time, and what is saved.

Money is counted in picodollars (10**-12 US dollars), as integers: a price in dollars per million tokens with six
decimals is a whole number of them per token, so sums are exact and add up in any order. A request counts for the arm
that it was *assigned* to, with all that was paid for it, a baseline's answer to a candidate's failure included.

GPU time is paid whether it is used or not. It is no property of a request, so it is reported, and divided by what was
served; no gate may look at it.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PICOUSD = 1_000_000_000_000
PICOUSD_PER_MICROUSD = 1_000_000
_TOKENS = 1_000_000
_MS_PER_HOUR = 3_600_000
CAP_FACTOR = 2
TOKENS_MAX = 1 << 24
"""Of one request, prompt and answer each: what an upstream says beyond that is not believed."""
PAID_MAX_PICOUSD = 1_000 * PICOUSD
"""A request counts for no more: a price that is wrong by a million must not break the sums of all others."""


class TokenPrice(NamedTuple):
    """Of one token, in picodollars, which is millionths of a dollar per million tokens."""

    prompt_picousd: int = 0
    completion_picousd: int = 0

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What so many tokens cost, in picodollars."""
        return prompt_tokens * self.prompt_picousd + completion_tokens * self.completion_picousd


def token_price(input_usd: float, output_usd: float) -> TokenPrice:
    """The price of a token from dollars per million tokens; InvalidArgument for what is negative or no number."""
    if not (math.isfinite(input_usd) and math.isfinite(output_usd) and input_usd >= 0 and output_usd >= 0):
        raise InvalidArgument("a price of tokens must be a number of 0 or more", "dollars per million tokens, as 2.5")
    return TokenPrice(round(input_usd * _TOKENS), round(output_usd * _TOKENS))


class Gpus(NamedTuple):
    """What the in-house model runs on: `gpus` GPUs, each at `microusd_per_hour`."""

    gpus: int = 0
    microusd_per_hour: int = 0

    def cost_picousd(self, duration_ms: int) -> int:
        """What they cost over that time, rounded down to a picodollar."""
        return self.gpus * self.microusd_per_hour * PICOUSD_PER_MICROUSD * duration_ms // _MS_PER_HOUR


class Pricing(NamedTuple):
    """What an upstream costs: its tokens, the GPUs it runs on, or both. Nothing set: it counts as free."""

    tokens: TokenPrice = TokenPrice()
    gpus: Gpus = Gpus()

    @property
    def known(self) -> bool:
        """Whether it costs anything."""
        return any(self.tokens) or all(self.gpus)


class CostSums(msgspec.Struct, frozen=True, array_like=True):
    """Requests of one assigned arm. `picousd`: paid for tokens; `squared`: sum of squares of that, per request.

    `accepted`: answers that were of use (what that means is the feature's: not failed, or rated good).
    `unmetered`: requests that were answered without token counts; they cost nothing here, so more than a few of them
    make the figures worthless.
    """

    requests: int = 0
    accepted: int = 0
    unmetered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    picousd: int = 0
    squared: int = 0

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def per_request_picousd(self) -> float | None:
        """Mean price; None without requests."""
        return self.picousd / self.requests if self.requests else None

    @property
    def variance(self) -> float | None:
        """Sample variance of the price of one request; None below two of them."""
        count = self.requests
        if count < 2:  # noqa: PLR2004  one request says nothing of how they differ
            return None
        return max(0, count * self.squared - self.picousd**2) / (count * (count - 1))


def one(
    price: TokenPrice,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    *,
    accepted: bool,
    answered: bool = True,
    extra_picousd: int = 0,
) -> CostSums:
    """The sums of one request. `answered`: an answer began; `extra_picousd`: what its other attempt cost."""
    counts = min(prompt_tokens or 0, TOKENS_MAX), min(completion_tokens or 0, TOKENS_MAX)
    picousd = min(price.of(*counts) + extra_picousd, PAID_MAX_PICOUSD)
    unmetered = answered and prompt_tokens is None and completion_tokens is None
    return CostSums(1, int(accepted), int(unmetered), *counts, picousd, picousd * picousd)


def add(parts: Iterable[CostSums]) -> CostSums:
    """The sums of all of them, in any order."""
    totals = [0] * len(msgspec.structs.fields(CostSums))
    for part in parts:
        totals = [total + value for total, value in zip(totals, msgspec.structs.astuple(part), strict=True)]
    return CostSums(*totals)


class Stratum(NamedTuple):
    """Both arms over a time in which the share stood still: only such requests may be compared (Simpson)."""

    candidate: CostSums
    baseline: CostSums


class ArmCost(msgspec.Struct, frozen=True):
    """One arm's cost. `picousd`: tokens and GPU time; the means are None where there is nothing to divide by."""

    requests: int
    accepted: int
    unmetered: int
    picousd: int
    per_request_picousd: float | None
    per_accepted_picousd: float | None
    per_million_tokens_picousd: float | None


def arm_cost(sums: CostSums, gpu_picousd: int = 0) -> ArmCost:
    """One arm's cost with the GPU time it is charged for."""
    total = sums.picousd + gpu_picousd
    return ArmCost(
        sums.requests,
        sums.accepted,
        sums.unmetered,
        total,
        _over(total, sums.requests),
        _over(total, sums.accepted),
        _over(total * _TOKENS, sums.tokens),
    )


class Saving(msgspec.Struct, frozen=True):
    """Picodollars; below zero: the candidate is dearer. The interval is None where nothing tells how prices vary.

    `extrapolated`: requests without a baseline in their own stratum, valued at the mean of all others.
    """

    picousd: float
    lower_picousd: float | None
    upper_picousd: float | None
    extrapolated: int


def saving_so_far(strata: Sequence[Stratum], gpu_picousd: int, confidence: float = 0.95) -> Saving | None:
    """What the candidate's requests would have cost on the baseline, less what they did cost and the GPU time.

    None before the baseline had any request. The interval takes requests as independent and prices of a stratum as
    alike over time; it is a fixed-time interval for people, not one that gates may watch.
    """
    return _saving(strata, gpu_picousd, confidence, [stratum.candidate.requests for stratum in strata])


def saving_in_full(strata: Sequence[Stratum], gpu_picousd: int, confidence: float = 0.95) -> Saving | None:
    """As `saving_so_far`, had the candidate answered everything. `gpu_picousd`: of a fleet that carries it all."""
    totals = [stratum.candidate.requests + stratum.baseline.requests for stratum in strata]
    return _saving(strata, gpu_picousd, confidence, totals)


def cost_cap_picousd(baseline_p999_picousd: int) -> int:
    """Where the cost of a request is cut off for the evidence; fixed before the first unit that it applies to.

    No gate is on cost yet, so nothing but its tests calls this and `cost_score`.
    """
    return max(1, CAP_FACTOR * baseline_p999_picousd)


def cost_score(picousd: int, cap_picousd: int) -> float:
    """The winsorised cost of a request as evidence has it: in [0, 1], 1 is free, 0 is the cap or more."""
    return 1.0 - min(picousd, cap_picousd) / cap_picousd


def _saving(strata: Sequence[Stratum], gpu_picousd: int, confidence: float, moved: Sequence[int]) -> Saving | None:
    """`moved`: how many requests of each stratum are valued at the difference of its means."""
    everywhere = Stratum(add(each.candidate for each in strata), add(each.baseline for each in strata))
    if not everywhere.baseline.requests:
        return None
    total, variance, extrapolated = 0.0, 0.0, 0
    known = True
    for stratum, count in zip(strata, moved, strict=True):
        if not count:
            continue
        candidate = stratum.candidate if stratum.candidate.requests else everywhere.candidate
        baseline = stratum.baseline if stratum.baseline.requests else everywhere.baseline
        extrapolated += 0 if baseline is stratum.baseline else count
        total += count * (_mean(baseline) - _mean(candidate))
        spread = (_squared_error(baseline, everywhere.baseline), _squared_error(candidate, everywhere.candidate))
        known = known and None not in spread
        variance += count**2 * sum(each or 0.0 for each in spread)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    total -= gpu_picousd
    return Saving(total, total - half if known else None, total + half if known else None, extrapolated)


def _mean(sums: CostSums) -> float:
    """Nothing paid where nothing was asked."""
    return sums.per_request_picousd or 0.0


def _squared_error(sums: CostSums, everywhere: CostSums) -> float | None:
    """Of the mean. One request alone doesn't tell how prices vary: then they are taken to vary as everywhere."""
    variance = everywhere.variance if sums.variance is None else sums.variance
    return None if variance is None or not sums.requests else variance / sums.requests


def _over(total: int, count: int) -> float | None:
    return total / count if count else None
