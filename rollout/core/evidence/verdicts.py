"""From sums to what the gates of a ramp say, with the numbers behind it.

| gate | asks | PASS | FAIL |
| --- | --- | --- | --- |
| noninferiority | worse by the margin of this share or more? | disproven, and no harm on the rise | never |
| harm | worse by more than the margin? | not shown | shown, alone or together with other gates |
| threshold | is the candidate alone below its floor? | not shown | shown, alone or together |

Neither is INCONCLUSIVE, which holds; so is proof or a floor that has left out too many units (see coverage). `value` is
an e-value, `limit` what it must reach. No unit at all is NO_DATA, so silence never passes; but where one arm has
everything nothing is drawn, and nothing is asked of what needs a draw. Where requests go on, and their units, checks or
pairs are no longer looked at (see silence), all but a FAIL is NO_DATA as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core.evidence import cluster_verdicts, error_harm, pair_verdicts
from rollout.core.evidence.coverage import UNITS, counts_of, coverage_of, covered
from rollout.core.evidence.eprocess import value_of
from rollout.core.evidence.estimates import Asked, Rate, Words, estimate_of, rate_of, text_of
from rollout.core.evidence.folding import Gathered, gathered_of
from rollout.core.evidence.known import once
from rollout.core.evidence.ledger import floor_log_value, harm_log_value, noninferiority_log_value
from rollout.core.evidence.levels import alpha_of, is_stopper, limit_of, weights_of
from rollout.core.evidence.names import (
    DRAWN,
    ERRORS,
    JUDGE,
    LATENCY,
    THUMBS,
    age_s_of,
    has_begun,
    is_asked,
    is_gathered,
)
from rollout.core.evidence.plans import EPOCH_S, UNDER_WAY_S, began_s_of, floor_of, series_for, series_of
from rollout.core.evidence.rollback import HARM_WARNS, HarmValue, combined
from rollout.core.evidence.silence import silence_of
from rollout.core.evidence.stored_rows import UNUSABLE, told
from rollout.core.gates import NOT_ASKED, Estimate, Result, Verdict
from rollout.core.model import UnitKind
from rollout.core.ramp_model import Gate, GateKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rollout.core.coverage import Coverage
    from rollout.core.evidence.interval import Moments
    from rollout.core.evidence.ledger import MetricSums
    from rollout.core.evidence.plans import Series
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import SumKey

    Sums = Mapping[SumKey, Sequence[int]]
    Judge = Callable[[Gate, FeatureFlag, Sums, float], Verdict]

CANDIDATES_MIN = 5
"""Units of the candidate in this ramp, before which no harm gate and no floor fails: decision 20."""
_STAYS = (Result.FAIL, Result.ERROR)


def verdicts_of(flag: FeatureFlag, sums: Sums, now_s: float) -> dict[str, Verdict]:
    """What the flag's gates of evidence say, by name; `sums`: all that the store has of the feature.

    Nothing before the ramp begins: what there is then is an earlier attempt's.
    """
    if not has_begun(flag):
        return {}
    found = {gate.name: verdict_of(gate, flag, sums, now_s) for gate in flag.gates if is_gathered(gate)}
    return found | _stopped(flag, found, sums)


def verdict_of(gate: Gate, flag: FeatureFlag, sums: Sums, now_s: float) -> Verdict:
    """What one gate of `flag` says by itself at Unix time `now_s`; ERROR for sums or margins that can't be used."""
    judge = _BY_METRIC.get(gate.metric) or _BY_UNIT.get(flag.bucket_by) or _KINDS[gate.kind]
    drawn = gate.metric in DRAWN
    try:
        verdict = judge(gate, flag, sums, now_s)
        silence = silence_of(gate, flag, sums, now_s)
    except UNUSABLE as fault:
        return Verdict(gate.name, Result.ERROR, told(fault), now_s, metric=gate.metric)
    if verdict.result in _STAYS:
        return verdict
    if drawn and not is_asked(gate, flag.share_millipct):
        share = "the candidate" if flag.share_millipct else "the baseline"
        return replace(
            verdict, result=Result.PASS, reason=f"{NOT_ASKED}: everybody has {share}", value=verdict.value or 1.0
        )
    return replace(verdict, result=Result.NO_DATA, reason=f"{silence}; {verdict.reason}") if silence else verdict


def _noninferiority(gate: Gate, flag: FeatureFlag, sums: Sums, now_s: float) -> Verdict:
    margin = gate.margin_at(flag.share_millipct)
    series = series_for(flag, gate, margin)
    found = gathered_of(flag, series, sums)
    scope = _scope(gate, found)
    log_value = noninferiority_log_value(series.plan, _in_outcome(gate, margin), [scope])
    value = value_of(log_value)
    harm, limit = _harm_value(gate, flag, sums), limit_of(gate, flag)
    unrated = gate.metric == THUMBS and not scope.moments.contrast_squared
    proven = value >= limit and not unrated
    rate = _rate(gate, flag, found, now_s)
    asked = Asked(margin, _in_outcome(gate, margin), alpha_of(gate, flag), rate, harm, gate.min_samples, log_value)
    excluded = _excluded_latency(gate, flag, sums) if gate.metric in LATENCY else None
    estimate = estimate_of(scope.moments, asked, excluded=excluded, proven=proven)
    text = text_of(estimate, _words(gate))
    if unrated and scope.moments.units:
        text = "nobody has rated an answer"
    if proven and harm >= HARM_WARNS:
        text = f"proven, but an e-value for harm of {harm:.3g} warns; {text}"
    shown = Result.PASS if proven and harm < HARM_WARNS else Result.INCONCLUSIVE
    verdict = Verdict(gate.name, shown, text, now_s, value=value, estimate=estimate)
    return _counted(gate, flag, verdict, _coverage(gate, flag, series, scope.moments, sums))


def _harm(gate: Gate, flag: FeatureFlag, sums: Sums, now_s: float) -> Verdict:
    series = series_for(flag, gate, gate.margin or 0.0)
    found = gathered_of(flag, series, sums)
    moments, value = _scope(gate, found).moments, _harm_value(gate, flag, sums)
    shown = value >= limit_of(gate, flag)
    asked = Asked(gate.margin or 0.0, _in_outcome(gate, gate.margin or 0.0), alpha_of(gate, flag), Rate(), 0.0)
    estimate = estimate_of(moments, asked, excluded=None, proven=False)
    text = "; ".join((*_failed(gate, flag, sums), text_of(estimate, _words(gate))))
    result = Result.FAIL if shown else Result.PASS
    verdict = Verdict(gate.name, result, text, now_s, value=value, estimate=replace(estimate, harm_value=value))
    return _counted(gate, flag, verdict, _coverage(gate, flag, series, moments, sums), few=_too_early(gate, found))


def _failed(gate: Gate, flag: FeatureFlag, sums: Sums) -> Iterator[str]:
    total = error_harm.seen_of(flag, sums).total if gate.metric == ERRORS else None
    if total is not None and total.candidate_units:
        ours = f"{total.candidate_errors} of {total.candidate_units} units of the candidate failed"
        yield f"{ours}, {total.baseline_errors} of {total.baseline_units} of the baseline in this ramp"


def _threshold(gate: Gate, flag: FeatureFlag, sums: Sums, now_s: float) -> Verdict:
    """The candidate alone, over the whole ramp: a baseline that is down can't make it look fine."""
    series, floor = series_for(flag, gate, 0.0), floor_of(gate)
    found = gathered_of(flag, series, sums)
    carried = found.carried[len(series.plan.harm) + series.plan.floors.index(floor)]
    asked = (_threshold, flag.feature, flag.progress.attempt, floor, series.prefix)
    value = value_of(once(sums, asked, lambda: floor_log_value(series.plan, floor, found.by_epoch, carried)))
    mean = None
    if gate.metric == ERRORS:
        total = error_harm.seen_of(flag, sums).total
        mean = 1.0 - total.candidate_errors / total.candidate_units if total.candidate_units else None
    coverage = _coverage(gate, flag, series, _scope(gate, found).moments, sums)
    good = f"within {gate.limit:g} s" if gate.metric in LATENCY else "good"
    text = f"at least {floor:g} of the candidate's are to be {good}" + ("" if mean is None else f", {mean:.4f} are")
    shown = Result.FAIL if value >= limit_of(gate, flag) else Result.PASS
    estimate = Estimate(effect=mean, harm_value=value)
    verdict = Verdict(gate.name, shown, text, now_s, value=value, estimate=estimate)
    return _counted(gate, flag, verdict, coverage, few=_too_early(gate, found))


def _too_early(gate: Gate, found: Gathered) -> str:
    """Why harm does not count yet, if it is shown: it rolls a ramp back, and somebody is called for it."""
    ramp = found.ramp.moments
    units = ramp.candidates if gate.kind is GateKind.THRESHOLD else ramp.units
    if ramp.candidates < CANDIDATES_MIN:
        return f"harm is shown, but by {ramp.candidates} of at least {CANDIDATES_MIN} units of the candidate"
    return f"harm is shown, but by {units} of {gate.min_samples} units" if units < gate.min_samples else ""


def _stopped(flag: FeatureFlag, found: Mapping[str, Verdict], sums: Sums) -> dict[str, Verdict]:
    """The verdict that stops the ramp because all together do, if they do: that of the gate that has most part in it.

    What is judged by users has no e-value to average; it keeps its share of alpha to itself.
    """
    weights = weights_of(flag)
    stoppers = {gate.name: gate for gate in flag.gates if is_stopper(gate)}
    if not stoppers:
        return {}
    together = combined(
        [
            HarmValue(name, _log_value(gate, flag, found[name]), weights[name], _age_s(gate, flag))
            for name, gate in stoppers.items()
        ]
    )
    leader = found[together.leader]
    limit = 1.0 / alpha_of(stoppers[together.leader], flag)
    if together.log_value < math.log(limit) or leader.result is Result.FAIL:
        return {}
    gate = stoppers[together.leader]
    if gate.metric in DRAWN and _too_early(gate, gathered_of(flag, series_for(flag, gate, gate.margin or 0.0), sums)):
        return {}
    others = f" with {', '.join(together.others)}" if together.others else ""
    value = value_of(together.log_value)
    alone = "" if leader.value is None or leader.limit is None else f" ({leader.value:.4g} of {leader.limit:.4g} alone)"
    text = f"together{others}: e-value {value:.4g} of {limit:.4g}{alone}; {leader.reason}"
    return {together.leader: replace(leader, result=Result.FAIL, reason=text, value=value, limit=limit)}


def _log_value(gate: Gate, flag: FeatureFlag, verdict: Verdict) -> float:
    """What it adds to the average: what has a stricter limit of its own (a judge's later version) adds less."""
    by_users = gate.metric in DRAWN and flag.bucket_by in _BY_UNIT
    if by_users or not verdict.value or not verdict.limit:
        return 0.0
    return math.log(verdict.value) - max(0.0, math.log(verdict.limit / limit_of(gate, flag)))


def _age_s(gate: Gate, flag: FeatureFlag) -> float:
    """Pairs are judged when they are judged: later than anything is known of a unit."""
    return age_s_of(flag, gate.metric) if gate.metric in DRAWN else math.inf


def _counted(gate: Gate, flag: FeatureFlag, verdict: Verdict, coverage: Coverage, *, few: str = "") -> Verdict:
    """Fill in what all have, and hold what has too few units, or has left out too many; `few`: why not to fail yet."""
    arms, wanted = (coverage.candidate, coverage.baseline), max(1, gate.min_samples)
    samples = sum(arm.judged for arm in (arms[:1] if gate.kind is GateKind.THRESHOLD else arms))
    whole = replace(
        verdict, from_s=began_s_of(gate, flag), metric=gate.metric, limit=limit_of(gate, flag), samples=samples
    )
    if verdict.result is Result.FAIL and few:
        whole = replace(whole, result=Result.INCONCLUSIVE, reason=f"{few}; {verdict.reason}")
    elif verdict.result is not Result.FAIL and samples < wanted:
        whole = _too_few(gate, flag, whole, wanted)
    return covered(whole, gate, coverage)


def _too_few(gate: Gate, flag: FeatureFlag, verdict: Verdict, wanted: int) -> Verdict:
    text = f"{verdict.samples} of {wanted} units; {verdict.reason}"
    if verdict.samples:
        return replace(verdict, result=Result.INCONCLUSIVE, reason=text)
    age_s = age_s_of(flag, gate.metric)
    if verdict.at_s < began_s_of(gate, flag) + age_s + UNDER_WAY_S:
        return replace(
            verdict, result=Result.INCONCLUSIVE, reason=f"units are looked at {age_s:g} s after they arrived"
        )
    if gate.metric in LATENCY:
        text = f"{text} with a bound within {flag.evidence.age}; if there is traffic, give a larger evidence.age"
    return replace(verdict, result=Result.NO_DATA, reason=text)


def _coverage(gate: Gate, flag: FeatureFlag, series: Series, moments: Moments, sums: Sums) -> Coverage:
    counts = counts_of(gate, flag, sums, UNITS, series.prefix)
    return coverage_of(gate, UNITS, moments.candidates, moments.units - moments.candidates, counts)


def _harm_value(gate: Gate, flag: FeatureFlag, sums: Sums) -> float:
    """The e-value for harm beyond the final margin, over the whole ramp, restarted at each epoch."""
    margin = gate.margin or 0.0
    asked = (_harm_value, flag.feature, flag.progress.attempt, margin)
    if gate.metric == ERRORS:
        worked_out = once(sums, (*asked, flag.evidence), lambda: error_harm.harm_log_value(flag, margin, sums))
    else:
        series = series_for(flag, gate, margin)
        worked_out = once(
            sums, (*asked, series.prefix), lambda: _harm_of(series, _in_outcome(gate, margin), flag, sums)
        )
    return value_of(worked_out)


def _harm_of(series: Series, margin: float, flag: FeatureFlag, sums: Sums) -> float:
    found = gathered_of(flag, series, sums)
    return harm_log_value(series.plan, margin, found.by_epoch, found.carried[series.plan.harm.index(margin)])


def _excluded_latency(gate: Gate, flag: FeatureFlag, sums: Sums) -> float | None:
    """The smallest margin with which the candidate is proven in time, as it is with all larger ones.

    From the largest down to the first that isn't proven: so all that is said has one alpha, however many there are.
    """
    limit, excluded = math.log(limit_of(gate, flag)), None
    proofs = [each for each in series_of(flag) if each.metric == gate.metric and each.plan.noninferiority]
    for each in sorted(proofs, key=lambda series: -series.margin):
        scope = _scope(gate, gathered_of(flag, each, sums))
        if noninferiority_log_value(each.plan, 0.0, [scope]) < limit:
            break
        excluded = each.margin
    return excluded


def _rate(gate: Gate, flag: FeatureFlag, found: Gathered, now_s: float) -> Rate:
    """How fast new units have come lately, while the gate's scope lasts."""
    began_s = flag.progress.ramp_began_s
    parts = ((began_s + epoch * EPOCH_S, each.moments) for epoch, each in found.by_epoch.items())
    return rate_of(parts, _scope(gate, found).moments, began_s_of(gate, flag), now_s)


def _words(gate: Gate) -> Words:
    return Words(in_time=gate.metric in LATENCY)


def _in_outcome(gate: Gate, margin: float) -> float:
    """The margin of the outcome: that of latency is in the yardstick."""
    return 0.0 if gate.metric in LATENCY else margin


def _scope(gate: Gate, found: Gathered) -> MetricSums:
    return found.ramp if gate.scope == "ramp" else found.step


def _by_users(gate: Gate, flag: FeatureFlag, sums: Sums, now_s: float) -> Verdict:
    """By all requests of users, and beside it by the first request of each, as if they were any units."""
    return cluster_verdicts.verdict_of(gate, flag, sums, now_s, _KINDS[gate.kind](gate, flag, sums, now_s))


_KINDS: dict[GateKind, Judge] = {
    GateKind.NONINFERIORITY: _noninferiority,
    GateKind.HARM: _harm,
    GateKind.THRESHOLD: _threshold,
}
_BY_METRIC: dict[str, Judge] = {JUDGE: pair_verdicts.verdict_of}
_BY_UNIT: dict[UnitKind, Judge] = {UnitKind.USER: _by_users, UnitKind.TENANT: _by_users}
"""Who judges the metrics of units where users keep their arm."""
