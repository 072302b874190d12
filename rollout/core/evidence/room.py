"""How many numbers a ramp may come to have in the store: beyond the store's bound nothing more would be counted.

| sums of | vectors |
| --- | --- |
| units | of the epochs that get units still, one more for a step that changes, and what the others were folded to |
| pairs | of each window and each step, for each version of the judge |
| users | see `cluster_parts.VALUES_MAX` |
| left out | of each step |
| silence | of the epochs that get units still, and three others |
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import pairs, silence
from rollout.core.evidence.carrying import SETTLED_S
from rollout.core.evidence.cluster_parts import is_clustered, parts_of
from rollout.core.evidence.coverage import ELEMENTS, ShadowCalls, looks_of
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.error_bets import BETS
from rollout.core.evidence.ledger import nothing
from rollout.core.evidence.names import ERRORS, age_s_of, is_gathered
from rollout.core.evidence.plans import EPOCH_S, ErrorCounts, final_margins, series_of, vector_of
from rollout.core.sums import VALUES_PER_EPOCH_MAX

if TYPE_CHECKING:
    from rollout.core.evidence.plans import Series
    from rollout.core.model import FeatureFlag

LASTS_S = 60 * 86_400.0
JUDGES = 2
"""Versions of a judge that score side by side; of the others each has a last window in common with the next."""
_OF_CARRIED = 2
_HEAD = 2
_OTHERS_OF_A_STEP = 64
"""Arms, requests and costs: a few numbers for each share."""


def check_room(flag: FeatureFlag) -> None:
    """InvalidArgument for a flag whose sums may outgrow the store before its ramp has lasted for `LASTS_S`."""
    values = values_of(flag)
    if values > VALUES_PER_EPOCH_MAX:
        cause = f"the gates may come to have {values} sums of evidence, the store takes {VALUES_PER_EPOCH_MAX}"
        raise InvalidArgument(cause, "ask for fewer metrics and margins")


def values_of(flag: FeatureFlag) -> int:
    """The most there are at once in an attempt; InvalidArgument for what can't be gathered at all."""
    units = sum(_of_series(flag, each) for each in series_of(flag))
    others = (_OTHERS_OF_A_STEP + _of_coverage(flag)) * (_steps(flag) + 1)
    return units + _of_errors(flag) + _of_silence(flag) + _of_pairs(flag) + _of_users(flag) + others


def _of_series(flag: FeatureFlag, series: Series) -> int:
    vector, plan = len(vector_of(nothing(series.plan))), series.plan
    carried = (len(plan.harm) + len(plan.floors)) * (1 + _OF_CARRIED * len(LAMBDAS))
    return (_epochs_at_once(age_s_of(flag, series.metric)) + 2) * vector + _HEAD + carried


def _of_errors(flag: FeatureFlag) -> int:
    margins = final_margins([gate for gate in flag.gates if gate.metric == ERRORS and is_gathered(gate)])
    counts = len(ErrorCounts._fields)
    carried = len(margins) * (1 + _OF_CARRIED * len(BETS))
    return _epochs_at_once(flag.evidence.age_s) * counts + 1 + counts + carried


def _of_silence(flag: FeatureFlag) -> int:
    """Of epochs that are over three are kept."""
    ages_s = (flag.evidence.age_s, flag.evidence.age_s, silence.PAIR_AGE_S)
    return sum(_epochs_at_once(age_s) + 3 for age_s in ages_s) * silence.ELEMENTS


def _of_pairs(flag: FeatureFlag) -> int:
    plan = pairs.plan_of(flag)
    if plan is None:
        return 0
    windows = pairs.epoch_of(flag.progress, flag.progress.ramp_began_s + LASTS_S) + 1
    vectors = JUDGES * (windows + _steps(flag)) + pairs.VERSIONS_MAX - JUDGES
    return vectors * len(vector_of(nothing(plan)))


def _of_coverage(flag: FeatureFlag) -> int:
    """Of a step: who was left out of each series, of units and of requests of users."""
    return len({*looks_of(series_of(flag)).values()}) * ELEMENTS * (2 if is_clustered(flag) else 1) + len(
        ShadowCalls._fields
    )


def _of_users(flag: FeatureFlag) -> int:
    if not is_clustered(flag):
        return 0
    return sum((part.windows + _steps(flag)) * part.values for part in parts_of(flag))


def _epochs_at_once(age_s: float) -> int:
    """Those that are not folded yet, with one more vector for an epoch in which a step began."""
    return math.ceil((age_s + SETTLED_S) / EPOCH_S) + 2


def _steps(flag: FeatureFlag) -> int:
    return 0 if flag.ramp is None else len(flag.ramp.steps)
