"""At which level each gate of evidence decides: one alpha for all that can stop a ramp, one for each proof.

| gates | level |
| --- | --- |
| of harm, and floors (thresholds), unless they only observe | one for all: the smallest of theirs, shared by weight |
| of non-inferiority | each its own: a ramp goes on only if all are met, so none is lost by having several |
| that only observe | each its own |

Each further attempt with another candidate has less of it (`attempt_alpha`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.evidence.names import ERRORS, JUDGE, is_gathered
from rollout.core.evidence.rollback import ALPHA, attempt_alpha
from rollout.core.ramp_model import Gate, GateKind, Role

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag

_WEIGHTS = {ERRORS: 4.0, JUDGE: 2.0}
"""Of 1 for all others: errors are the worst to miss, and judged pairs the dearest to wait for."""


def is_stopper(gate: Gate) -> bool:
    """Whether it can stop a ramp by evidence."""
    return gate.kind is not GateKind.NONINFERIORITY and gate.role is not Role.OBSERVE and is_gathered(gate)


def alpha_of(gate: Gate, flag: FeatureFlag) -> float:
    """The level in this attempt: of a gate that can stop the ramp the one that all of those share."""
    alphas = [each.alpha or ALPHA for each in flag.gates if is_stopper(each)] if is_stopper(gate) else []
    return attempt_alpha(min(alphas, default=gate.alpha or ALPHA), max(1, flag.progress.attempt))


def weights_of(flag: FeatureFlag) -> dict[str, float]:
    """By name, the shares of alpha of the gates that can stop the ramp; they add up to one."""
    raw = {gate.name: _WEIGHTS.get(gate.metric, 1.0) for gate in flag.gates if is_stopper(gate)}
    whole = sum(raw.values())
    return {name: weight / whole for name, weight in raw.items()}


def limit_of(gate: Gate, flag: FeatureFlag) -> float:
    """The e-value with which this gate alone has its answer."""
    return 1.0 / (alpha_of(gate, flag) * weights_of(flag).get(gate.name, 1.0))
