"""What one gate says: the answer, the reason, and the numbers behind it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from rollout.core.coverage import Coverage


class Result(StrEnum):
    """What a gate says, best first."""

    PASS = "PASS"  # noqa: S105  no password
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"
    ERROR = "ERROR"
    FAIL = "FAIL"


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What stands behind a gate of evidence, as far as it can be said; all finite or None.

    `effect`: candidate minus baseline (of a floor: the candidate's mean), `lower` and `upper` hold at all times at
    once. `margin`: what is asked now; `excluded`: the smallest "worse by" that is ruled out. `expected_s`: until a
    decision, if the effect is what it looks like; 0 once it is proven. `harm_value`: the e-value for harm at the final
    margin. `by_bound`: the verdict's value is no e-value but a bound of the effect (of a floor: of the mean), which
    decides once it has passed the limit.
    """

    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    margin: float | None = None
    excluded: float | None = None
    expected_s: float | None = None
    harm_value: float | None = None
    by_bound: bool = False


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one gate says, complete enough for the audit log. `value` is finite or None."""

    gate: str
    result: Result
    reason: str
    at_s: float
    from_s: float | None = None
    metric: str = ""
    value: float | None = None
    limit: float | None = None
    samples: int | None = None
    estimate: Estimate | None = None
    coverage: Coverage | None = None
