"""Who is left out of a series, beside those that are counted in it; with too many of them a gate has no answer.

| name | vector |
| --- | --- |
| `covered.{look}.{step}` | `Counts` of units; none where nobody was left out or rated |
| `covered.requests.{look}.{step}` | the same, of requests of users |
| `shadowed.{step}` | `ShadowCalls`: those that were answered, and those that failed, by the arm that was asked |

A look is what series that differ in their margin alone have in common: who is left out of one of them is left out.

Who is left out says "no difference" in a contrast, or nothing at all. So a candidate whose units are left out looks the
more harmless the more of them there are: what raises the share wants to have seen all but `LEFT_OUT_RATIO_MAX` of them.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rollout.core.coverage import ArmCoverage, Coverage
from rollout.core.evidence.names import THUMBS
from rollout.core.evidence.plans import series_of, step_of
from rollout.core.evidence.stored_rows import counts_in
from rollout.core.gates import Result
from rollout.core.ramp_model import GateKind
from rollout.core.sums import SumKey, merge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.plans import Series
    from rollout.core.gates import Verdict
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate, Progress

LEFT_OUT_RATIO_MAX = 0.05
"""Of the units of either arm: that many may be as bad as can be, and hide so many points of an effect."""
RATED_MIN = 30
"""Rated units of each arm, without which ratings prove nothing."""
RATED_RATIO_WEAK = 0.01
UNITS, REQUESTS, SHADOW_CALLS = "units", "requests", "shadow calls"
_HEADS = {UNITS: "covered.", REQUESTS: "covered.requests.", SHADOW_CALLS: "shadowed"}


class Counts(NamedTuple):
    """A vector as it is. `left_*`: counted in the series, their outcome is not known; `lost_*`: not in the series.

    `rated_*`: counted, and rated by a caller.
    """

    left_candidates: int = 0
    left_baselines: int = 0
    lost_candidates: int = 0
    lost_baselines: int = 0
    rated_candidates: int = 0
    rated_baselines: int = 0


class ShadowCalls(NamedTuple):
    """A vector as it is: copies of requests that the other arm answered, and those that it did not."""

    candidate_answered: int = 0
    candidate_failed: int = 0
    baseline_answered: int = 0
    baseline_failed: int = 0


ELEMENTS = len(Counts._fields)


def left(count: int, *, candidate: bool) -> Counts:
    """That many of an arm are counted, and nobody knows what they came to."""
    return Counts(left_candidates=count) if candidate else Counts(left_baselines=count)


def lost(count: int, *, candidate: bool) -> Counts:
    """That many of an arm are not counted, and should be."""
    return Counts(lost_candidates=count) if candidate else Counts(lost_baselines=count)


def rated(count: int, *, candidate: bool) -> Counts:
    """That many of an arm are counted and rated."""
    return Counts(rated_candidates=count) if candidate else Counts(rated_baselines=count)


def looks_of(series: Sequence[Series]) -> dict[str, str]:
    """The look of each of a flag's series, by its prefix; another one if the margins are others."""
    seen: defaultdict[tuple[str, float], list[str]] = defaultdict(list)
    for each in series:
        seen[each.metric, each.limit_s].append(each.prefix)
    looks = {metric_and_limit: _look(prefixes) for metric_and_limit, prefixes in seen.items()}
    return {each.prefix: looks[each.metric, each.limit_s] for each in series}


def coverage_keys(flag: FeatureFlag, series: Sequence[Series], of: str) -> dict[str, SumKey]:
    """Where it is counted in this step of `flag` who was left out of its series, by prefix; `of`: UNITS, REQUESTS."""
    head, attempt, step = _HEADS[of], flag.progress.attempt, step_of(flag.progress)
    return {prefix: SumKey(flag.feature, attempt, f"{head}{look}.{step}") for prefix, look in looks_of(series).items()}


def shadow_key(feature: str, progress: Progress) -> SumKey:
    """Where shadow calls are counted in this step."""
    return SumKey(feature, progress.attempt, f"{_HEADS[SHADOW_CALLS]}.{step_of(progress)}")


def counts_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], of: str, prefix: str) -> Counts:
    """What was counted beside a series in the gate's scope, the step or the ramp; `prefix`: of the series."""
    head = f"{_HEADS[of]}{looks_of(series_of(flag))[prefix]}"
    return Counts(*counts_in(head, _added(gate, flag, sums, head), ELEMENTS))


def shadow_coverage(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> Coverage:
    """How many of the shadow calls in the gate's scope were answered; the others give no pair."""
    head = _HEADS[SHADOW_CALLS]
    calls = ShadowCalls(*counts_in(head, _added(gate, flag, sums, head), len(ShadowCalls._fields)))
    return Coverage(
        SHADOW_CALLS,
        ArmCoverage(calls.candidate_answered, calls.candidate_failed),
        ArmCoverage(calls.baseline_answered, calls.baseline_failed),
        LEFT_OUT_RATIO_MAX,
    )


def coverage_of(gate: Gate, of: str, candidates: int, baselines: int, counts: Counts) -> Coverage:
    """How well it is covered. `candidates`, `baselines`: those that are counted, whether left out or not."""
    asks = gate.metric == THUMBS
    return Coverage(
        of,
        _of_arm(candidates, counts.left_candidates, counts.lost_candidates, counts.rated_candidates if asks else None),
        _of_arm(baselines, counts.left_baselines, counts.lost_baselines, counts.rated_baselines if asks else None),
        LEFT_OUT_RATIO_MAX,
    )


def doubt_of(gate: Gate, coverage: Coverage) -> str:
    """Why this gate may not let the share grow, empty if it may. A floor asks about the candidate alone."""
    arms = coverage.by_arm[:1] if gate.kind is GateKind.THRESHOLD else coverage.by_arm
    for name, arm in arms:
        if arm.left_out_ratio > coverage.limit:
            what = "failed" if coverage.of == SHADOW_CALLS else "were left out"
            what = f"{arm.left_out} of {arm.all} {coverage.of} of the {name} {what}"
            return f"{what}, {arm.left_out_ratio:.1%}, at most {coverage.limit:.0%}"
    for name, arm in arms:
        if arm.rated is not None and arm.judged and arm.rated < RATED_MIN:
            return f"{arm.rated} of {RATED_MIN} rated {coverage.of} of the {name}"
    return ""


def covered(verdict: Verdict, gate: Gate, coverage: Coverage) -> Verdict:
    """The verdict with what stands behind it; INCONCLUSIVE if that is too little to let the share grow.

    What stops a ramp acts on what was seen: harm is passed on as it is, and so is every FAIL.
    """
    verdict = replace(verdict, coverage=coverage, reason=verdict.reason + _told_of_ratings(coverage))
    doubt, result = doubt_of(gate, coverage), verdict.result
    acts_on_what_it_sees = gate.kind is GateKind.HARM and result is not Result.NO_DATA
    if not doubt or acts_on_what_it_sees or result in {Result.FAIL, Result.ERROR}:
        return verdict
    result = Result.INCONCLUSIVE if result is Result.PASS else result
    return replace(verdict, result=result, reason=f"{doubt}; {verdict.reason}")


def _told_of_ratings(coverage: Coverage) -> str:
    """Ratings of a few say little about all, whatever the numbers look like."""
    ratios = [(name, arm.rated / arm.judged) for name, arm in coverage.by_arm if arm.rated is not None and arm.judged]
    if not any(ratio for _, ratio in ratios):
        return ""
    told = ", ".join(f"{ratio:.1%} of the {name}'s" for name, ratio in ratios)
    return f"; rated: {told}" + (" (weak)" if any(ratio < RATED_RATIO_WEAK for _, ratio in ratios) else "")


def _of_arm(counted: int, left_out: int, gone: int, rated_units: int | None) -> ArmCoverage:
    return ArmCoverage(max(0, counted - left_out), left_out + gone, rated_units)


def _look(prefixes: Sequence[str]) -> str:
    if len(prefixes) == 1:
        return prefixes[0]
    metric, _, _ = prefixes[0].partition(".")
    return f"{metric}.{blake2b(' '.join(sorted(prefixes)).encode(), digest_size=8).hexdigest()}"


def _added(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], head: str) -> Sequence[int]:
    feature, attempt = flag.feature, flag.progress.attempt
    if gate.scope != "ramp":
        return sums.get(SumKey(feature, attempt, f"{head}.{step_of(flag.progress)}"), ())
    total: list[int] = []
    for key, vector in sums.items():
        if key.name.startswith(f"{head}.") and (key.feature, key.epoch) == (feature, attempt):
            total = merge(total, vector)
    return total
