"""What gates of evidence say where arms stick to users or tenants: by bounds of a cluster-robust confidence sequence.

| asked                 | passes or fails by                                                                          |
| --------------------- | ------------------------------------------------------------------------------------------- |
| noninferiority        | PASS once the lower bound of the effect is above -margin, unless harm looks likely (at 0.1) |
| harm, a floor         | FAIL once the upper bound is below -margin, of the candidate's mean below the floor         |
| either, too few users | INCONCLUSIVE with the reason, see `clusters.admissible`                                     |

`value` is that bound and `limit` what it must pass (the estimate says `by_bound`): of a proof the lower bound of the
effect, which must be above -margin; of harm the upper one, which must not be below it. That is no e-value and can't be
averaged. So gates that can fail share the attempt's alpha by weight
(union bound), and each looks for harm from the start of the ramp and afresh from each later cell j, at the weights of
the restart mixture (union bound again). All of it is asymptotic, and says so.

Beside it there may be an exact test that knows each user by the first request alone. It needs no spread, so it can
prove a candidate that hardly ever fails, and see the gross failure of a few users.
"""

from __future__ import annotations

import math
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import clusters, restart
from rollout.core.evidence.cluster_parts import part_of, stored
from rollout.core.evidence.coverage import REQUESTS, counts_of, coverage_of, covered
from rollout.core.evidence.estimates import Words, between, text_of
from rollout.core.evidence.interval import decision_n_eff
from rollout.core.evidence.known import once
from rollout.core.evidence.levels import limit_of
from rollout.core.evidence.names import LATENCY, THUMBS, age_s_of
from rollout.core.evidence.plans import UNDER_WAY_S, began_s_of, floor_of, series_for, step_of
from rollout.core.evidence.rollback import HARM_WARNS
from rollout.core.gates import Result, Verdict
from rollout.core.ramp_model import GateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.coverage import Coverage
    from rollout.core.evidence.cluster_parts import Cell
    from rollout.core.evidence.clusters import ClusterSums
    from rollout.core.evidence.plans import Series
    from rollout.core.gates import Estimate
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate
    from rollout.core.sums import SumKey

HARM_WARNS_ALPHA = 1.0 / HARM_WARNS
"""Harm that is shown at this level, at the final margin, keeps a gate of non-inferiority from passing."""
DESIGN_EFFECT = 2.0
"""How many requests of users say as much as one of a stranger: a guess, see `variance_tuned`."""
_LOG_LATENCY_SIGMA = 0.8
_RATING_VARIANCE = 0.05
"""Most requests are not rated, and left out."""
_SHOWN = 1.0
_ALPHA_MAX = 0.25


class _Question(NamedTuple):
    """One question: `worst` is the effect (of a floor: the mean) that is just no harm; `alpha`: to one side."""

    series: Series
    worst: float
    tuned: float
    alpha: float
    floor: bool


class _Harm(NamedTuple):
    """How strong the strongest evidence for harm is (1: shown), its upper bound, and why none may be no answer."""

    evidence: float
    bound: float
    doubt: str


class _Found(NamedTuple):
    """`value`, `limit`: by which it was decided, a bound unless the exact test of first requests did; None: neither."""

    result: Result
    value: float | None
    limit: float
    told: str = ""
    by_bound: bool = True


def verdict_of(
    gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float, first: Verdict | None = None
) -> Verdict:
    """What one gate of `flag` says at Unix time `now_s`; ERROR for sums or margins that can't be used.

    For gates of source evidence on drawn metrics, of flags by user or tenant. `first`: what the exact test of users'
    first requests says of the same gate, an e-value with its limit; each of both then has half of the gate's alpha.
    """
    try:
        return _judged(gate, flag, sums, now_s, first)
    except InvalidArgument as fault:
        return Verdict(gate.name, Result.ERROR, fault.cause, now_s, metric=gate.metric)


def variance_tuned(gate: Gate, margin: float, alpha: float) -> float:
    """The variance of the sum at which a decision is expected: there the bounds are tightest.

    Fixed by the gate alone, before anything is seen; ten times too small or large costs 10 to 30 % of width, no
    validity. It is that of `decision_n_eff` requests of a candidate without any effect, if failures are about as
    frequent as the margin says that they matter, and log latencies are normal with a sigma of 0.8.
    """
    if gate.kind is GateKind.THRESHOLD:
        variance, gap = _binary(floor_of(gate)), (1.0 - floor_of(gate)) / 2
    elif gate.metric in LATENCY:
        quantile = LATENCY[gate.metric].quantile
        further = NormalDist(sigma=_LOG_LATENCY_SIGMA).inv_cdf(quantile) + math.log1p(margin)
        variance, gap = _binary(quantile), NormalDist(sigma=_LOG_LATENCY_SIGMA).cdf(further) - quantile
    else:
        variance, gap = (_RATING_VARIANCE if gate.metric == THUMBS else _binary(min(0.5, margin))), margin
    requests = DESIGN_EFFECT * decision_n_eff(variance, max(gap, 1e-3), alpha)
    return max(1.0, DESIGN_EFFECT * variance * requests)


def _judged(
    gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float, first: Verdict | None
) -> Verdict:
    proof = gate.kind is GateKind.NONINFERIORITY
    margin = gate.margin_at(flag.share_millipct) if proof else gate.margin or 0.0
    asked = _question(gate, flag, margin, min(_ALPHA_MAX, 1.0 / limit_of(gate, flag)) / (1 if first is None else 2))
    cells = _cells(asked, flag, sums)
    scope = clusters.total(
        found for cell, found in cells.items() if gate.scope == "ramp" or cell.step == step_of(flag.progress)
    )
    if proof:
        final = _question(gate, flag, gate.margin or 0.0, HARM_WARNS_ALPHA)
        found = _proof(asked, scope, _harm(final, _cells(final, flag, sums)), first)
    else:
        found = _shown(asked, _harm(asked, cells), first)
    began_s, coverage = began_s_of(gate, flag), _coverage(gate, flag, asked, scope, sums)
    requests = coverage.candidate.judged + coverage.baseline.judged
    if found.result is not Result.FAIL and requests < max(1, gate.min_samples):
        under_way = now_s < began_s + age_s_of(flag, gate.metric) + UNDER_WAY_S
        found = _too_few(gate, requests, found, under_way=under_way)
    estimate = _estimate(gate, asked, scope, margin, now_s - began_s if proof else 0.0, by_bound=found.by_bound)
    reason = "; ".join(part for part in (found.told, text_of(estimate, _words(gate, asked, scope, found))) if part)
    verdict = Verdict(
        gate.name, found.result, reason, now_s,
        from_s=began_s, metric=gate.metric, value=found.value, limit=found.limit, samples=requests,
        estimate=estimate,
    )  # fmt: skip
    return covered(verdict, gate, coverage)


def _coverage(
    gate: Gate, flag: FeatureFlag, asked: _Question, scope: ClusterSums, sums: Mapping[SumKey, Sequence[int]]
) -> Coverage:
    """Of a floor it knows the candidate's alone."""
    counts = counts_of(gate, flag, sums, REQUESTS, asked.series.prefix)
    candidates = sum(scope.candidates) + counts.left_candidates
    return coverage_of(gate, REQUESTS, candidates, 0 if asked.floor else scope.units - candidates, counts)


def _proof(asked: _Question, scope: ClusterSums, harm: _Harm, first: Verdict | None) -> _Found:
    usable = clusters.admissible(scope, asked.worst, binary=True)
    proven = clusters.evidence_against(scope, asked.worst, asked.tuned, asked.alpha) >= _SHOWN
    bound = clusters.lower_bound(scope, asked.tuned, asked.alpha) if usable.admissible else None
    if harm.evidence >= _SHOWN:
        return _Found(Result.INCONCLUSIVE, bound, asked.worst, "harm at the final margin looks likely")
    if bound is not None and proven:
        return _Found(Result.PASS, max(bound, asked.worst), asked.worst)
    if first is not None and first.result is Result.PASS and _is_twice_the_limit(first):
        return _by_first(first, "proven by users' first requests")
    return _Found(Result.INCONCLUSIVE, bound, asked.worst, usable.reason)


def _shown(asked: _Question, harm: _Harm, first: Verdict | None) -> _Found:
    if harm.evidence >= _SHOWN:
        return _Found(Result.FAIL, min(harm.bound, asked.worst), asked.worst)
    if first is not None and first.result is Result.FAIL and _is_twice_the_limit(first):
        return _by_first(first, "shown by users' first requests")
    if harm.doubt:
        return _Found(Result.INCONCLUSIVE, None, asked.worst, harm.doubt)
    return _Found(Result.PASS, harm.bound, asked.worst)


def _by_first(first: Verdict, told: str) -> _Found:
    """At half of its alpha, which is twice its limit."""
    return _Found(first.result, first.value, 2.0 * (first.limit or 0.0), told, by_bound=False)


def _is_twice_the_limit(first: Verdict) -> bool:
    """Whether it stands at half of its alpha."""
    return first.value is not None and first.limit is not None and first.value >= 2.0 * first.limit


def _too_few(gate: Gate, units: int, found: _Found, *, under_way: bool) -> _Found:
    if not units and under_way:
        return found._replace(result=Result.INCONCLUSIVE, value=None, told="no request can have come of age yet")
    result = Result.INCONCLUSIVE if units else Result.NO_DATA
    value = found.value if units else None
    return found._replace(result=result, value=value, told=f"{units} of {max(1, gate.min_samples)} requests")


def _question(gate: Gate, flag: FeatureFlag, margin: float, alpha: float) -> _Question:
    series, floor = series_for(flag, gate, margin), gate.kind is GateKind.THRESHOLD
    no_harm = floor_of(gate) if floor else 0.0 if gate.metric in LATENCY else -margin
    return _Question(series, no_harm, variance_tuned(gate, margin, alpha), alpha, floor)


def _cells(asked: _Question, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> dict[Cell, ClusterSums]:
    question = (_cells, flag.feature, flag.progress.attempt, part_of(flag, asked.series).name, asked)
    return once(sums, question, lambda: _read_cells(asked, flag, sums))


def _read_cells(asked: _Question, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> dict[Cell, ClusterSums]:
    found = stored(part_of(flag, asked.series), asked.series, flag.feature, flag.progress, sums)
    return {cell: clusters.of_candidate(each) for cell, each in found.items()} if asked.floor else found


def _harm(asked: _Question, cells: Mapping[Cell, ClusterSums]) -> _Harm:
    """Look for it from each cell on: the j-th of them at the weight of the j-th epoch of a restart mixture.

    Where none may be used the bound is 1, which says nothing.
    """
    to_now = list(accumulate((clusters.mirrored(each) for each in reversed(list(cells.values()))), clusters.add))[::-1]
    whole = to_now[0] if to_now else clusters.ClusterSums()
    strongest, bound = 0.0, 1.0
    for number, each in enumerate(to_now):
        if clusters.admissible(each, -asked.worst, binary=True, harm=True).admissible:
            alpha = asked.alpha * restart.weight_of(number)
            evidence = clusters.evidence_against(each, -asked.worst, asked.tuned, alpha)
            if bound == 1.0 or evidence > strongest:
                strongest, bound = max(0.0, evidence), -clusters.lower_bound(each, asked.tuned, alpha)
    return _Harm(strongest, bound, clusters.admissible(whole, -asked.worst, binary=False).reason)


def _estimate(
    gate: Gate, asked: _Question, scope: ClusterSums, margin: float, passed_s: float, *, by_bound: bool
) -> Estimate | None:
    effect = scope.estimate
    if effect is None:
        return None
    lower = clusters.lower_bound(scope, asked.tuned, asked.alpha)
    known = not asked.floor and gate.metric not in LATENCY and lower > -1.0
    return between(
        effect,
        clusters.interval(scope, asked.tuned, asked.alpha),
        asked.worst if asked.floor else margin,
        -lower if known else None,
        expected_s=_expected_s(asked, scope, passed_s),
        by_bound=by_bound,
    )


def _expected_s(asked: _Question, scope: ClusterSums, passed_s: float) -> float | None:
    """Seconds until non-inferiority is decided, if the effect is what it looks like and requests keep coming."""
    effect = scope.estimate
    if asked.floor or effect is None or effect <= asked.worst or passed_s <= 0.0:
        return None
    variance = clusters.spread(scope, effect) / scope.n_eff
    if not variance:
        return None  # no group differs from another yet
    missing = decision_n_eff(variance, effect - asked.worst, asked.alpha) - scope.n_eff
    return max(0.0, missing) * passed_s / scope.n_eff


def _words(gate: Gate, asked: _Question, scope: ClusterSums, found: _Found) -> Words:
    groups = f"{sum(count > 0 for count in scope.candidates)} groups of candidate users"
    side = "lower" if gate.kind is GateKind.NONINFERIORITY else "upper"
    bound = (
        "" if found.value is None or not found.by_bound else f"{side} bound {found.value:+.4f} of {found.limit:+.4g}, "
    )
    return Words(
        "asymptotic: mean" if asked.floor else "asymptotic: effect", "no request has come of age",
        f"{bound}{groups}", in_time=not asked.floor and gate.metric in LATENCY, floor=asked.floor,
    )  # fmt: skip


def _binary(rate: float) -> float:
    """The variance of an outcome that is 0 or 1."""
    return rate * (1.0 - rate)
