"""What a ramp costs, arm against arm, as operators are shown it: dollars, from the sums of one attempt.

A figure that is missing is None. What makes figures worthless is said in words, beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.core.cost import PICOUSD, Pricing, arm_cost, saving_in_full, saving_so_far
from rollout.core.cost_sums import shadows_of, strata_of, together
from rollout.core.ramp_model import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rollout.core.cost import CostSums, Saving, Stratum
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Progress
    from rollout.core.sums import SumKey

UNMETERED_RATIO_MAX = 0.01
"""Of an arm's requests: more without token counts are warned of."""
_MS = 1_000
_DAY_S = 86_400.0
_FREE = Pricing()


class PaidArm(msgspec.Struct, frozen=True):
    """What was assigned to an arm, and what was paid for it. The quotients hold tokens and GPU time."""

    upstream: str
    requests: int
    accepted: int
    unmetered: int
    prompt_tokens: int
    completion_tokens: int
    tokens_usd: float
    gpu_usd: float
    per_request_usd: float | None
    per_accepted_usd: float | None
    per_million_tokens_usd: float | None


class Saved(msgspec.Struct, frozen=True):
    """Dollars with their 95 % interval; below zero: the candidate is dearer.

    `extrapolated`: requests of shares without a baseline, valued at the baseline's mean price of the other shares.
    """

    usd: float
    lower_usd: float | None
    upper_usd: float | None
    per_day_usd: float | None
    extrapolated: int


class ShadowCost(msgspec.Struct, frozen=True):
    """Shadow calls that had an answer: overhead of the ramp, in no arm and no saving."""

    requests: int
    unmetered: int
    usd: float


class CostReport(msgspec.Struct, frozen=True):
    """One attempt, from its start (Unix time, None before the first) until now or its rollback."""

    feature: str
    attempt: int
    since_s: float | None
    until_s: float
    candidate: PaidArm
    baseline: PaidArm
    saved: Saved | None
    saved_in_full: Saved | None
    shadows: ShadowCost
    warnings: tuple[str, ...]


def cost_report(
    flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], prices: Mapping[str, Pricing], now_s: float
) -> CostReport:
    """The report at Unix time `now_s`. `sums`: all that the store has of the feature; `prices`: now, by upstream.

    Tokens count at the price that was in force when they were used, GPU time at that of now.
    """
    progress = flag.progress
    strata = strata_of(flag.feature, progress, sums)
    until_s = _until_s(progress, now_s)
    lasted_s = until_s - progress.ramp_began_s if progress.attempt else 0.0
    total = together(strata)
    fleets = [prices.get(name, _FREE).gpus for name in (flag.candidate, flag.baseline)]
    ours, theirs = (each.cost_picousd(round(lasted_s * _MS)) for each in fleets)
    so_far, in_full = saving_so_far(strata, ours), saving_in_full(strata, ours - theirs)
    shadows = shadows_of(flag.feature, progress, sums)
    return CostReport(
        flag.feature,
        progress.attempt,
        progress.ramp_began_s if progress.attempt else None,
        until_s,
        _arm(flag.candidate, total.candidate, ours),
        _arm(flag.baseline, total.baseline, theirs),
        _saved(so_far, lasted_s),
        _saved(in_full, lasted_s),
        ShadowCost(shadows.requests, shadows.unmetered, shadows.picousd / PICOUSD),
        tuple(_warnings(flag, total, prices, so_far)),
    )


def _until_s(progress: Progress, now_s: float) -> float:
    """A ramp that was rolled back costs no more; one that is completed goes on saving."""
    ended = progress.rolled_back if progress.phase is Phase.ROLLED_BACK else None
    return max(progress.ramp_began_s, now_s if ended is None else ended.at_s)


def _arm(upstream: str, sums: CostSums, gpu_picousd: int) -> PaidArm:
    cost = arm_cost(sums, gpu_picousd)
    return PaidArm(
        upstream,
        sums.requests,
        sums.accepted,
        sums.unmetered,
        sums.prompt_tokens,
        sums.completion_tokens,
        sums.picousd / PICOUSD,
        gpu_picousd / PICOUSD,
        _usd(cost.per_request_picousd),
        _usd(cost.per_accepted_picousd),
        _usd(cost.per_million_tokens_picousd),
    )


def _saved(saving: Saving | None, lasted_s: float) -> Saved | None:
    if saving is None:
        return None
    usd = saving.picousd / PICOUSD
    per_day = usd * _DAY_S / lasted_s if lasted_s > 0 else None
    return Saved(usd, _usd(saving.lower_picousd), _usd(saving.upper_picousd), per_day, saving.extrapolated)


def _warnings(flag: FeatureFlag, total: Stratum, prices: Mapping[str, Pricing], so_far: Saving | None) -> Iterator[str]:
    if not flag.progress.attempt:
        yield "no ramp has begun: costs are counted from its start"
    for arm, upstream, sums in (
        ("candidate", flag.candidate, total.candidate),
        ("baseline", flag.baseline, total.baseline),
    ):
        if not prices.get(upstream, _FREE).known:
            yield f"the {arm}'s upstream {upstream!r} has no price: it counts as free"
        if sums.unmetered > UNMETERED_RATIO_MAX * sums.requests:
            part = sums.unmetered / sums.requests
            yield f"{part:.1%} of the {arm}'s requests were answered without token counts: they count as free"
    if so_far is not None and so_far.extrapolated:
        yield (
            f"{so_far.extrapolated} requests came when nobody got the baseline: "
            "they are valued at its mean price before and after"
        )
    if prices.get(flag.candidate, _FREE).gpus.gpus:
        yield f"GPU time is all of {flag.candidate!r}, whatever else it serves"


def _usd(picousd: float | None) -> float | None:
    return None if picousd is None else picousd / PICOUSD
