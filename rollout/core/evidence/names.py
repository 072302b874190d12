"""The metrics that gates of source evidence may ask for, by name, and which flags gather them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.ramp_model import GateKind, Phase

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Evidence, Gate


class Quantile(NamedTuple):
    """A quantile of the time to the first token, the mean gap between tokens, or the whole answer."""

    part: str
    quantile: float


TTFT, ITL, TOTAL = "ttft", "itl", "total"
LATENCY = {
    f"{part}_p{percent}": Quantile(part, percent / 100) for part in (TTFT, ITL, TOTAL) for percent in (50, 95, 99)
}
ERRORS, FORM, THUMBS, JUDGE = "errors", "form", "thumbs", "judge"
"""Answers that came; free checks of the answer's form; callers' ratings; a judge's comparison of shadow pairs."""

DRAWN = frozenset({ERRORS, FORM, THUMBS, *LATENCY})
"""Metrics of units whose arm was drawn: they need a share between 0 and 100 %."""

METRICS = DRAWN | {JUDGE}

_AT_REST = (Phase.DRAFT, Phase.READY, Phase.COMPLETED)
"""The attempt of a ramp that has yet to begin is the one before it: another candidate's, maybe."""
_ALL = 100_000


def is_gathered(gate: Gate) -> bool:
    """Whether it is judged by sums of evidence."""
    bound = gate.limit if gate.kind is GateKind.THRESHOLD else gate.margin
    return gate.source == "evidence" and gate.metric in METRICS and bound is not None


def is_drawn(share_millipct: int) -> bool:
    """Whether a share leaves both arms something to draw."""
    return 0 < share_millipct < _ALL


def has_begun(flag: FeatureFlag) -> bool:
    """Whether sums of its attempt are about the ramp that it has now."""
    return flag.progress.phase not in _AT_REST and flag.progress.attempt > 0


def is_asked(gate: Gate, share_millipct: int) -> bool:
    """Whether units can tell at this share: where one arm has everybody, only a floor of the candidate's own."""
    return is_drawn(share_millipct) or (gate.kind is GateKind.THRESHOLD and share_millipct > 0)


def gathers(flag: FeatureFlag) -> bool:
    """Whether units are gathered under this flag: a ramp under way that asks what they can tell at this share."""
    if not has_begun(flag):
        return False
    return any(
        gate.metric in DRAWN and is_gathered(gate) and is_asked(gate, flag.share_millipct) for gate in flag.gates
    )


def gathers_pairs(flag: FeatureFlag) -> bool:
    """Whether judged pairs are gathered: a ramp under way that asks for it, at any share."""
    if not has_begun(flag):
        return False
    return any(gate.metric == JUDGE and is_gathered(gate) for gate in flag.gates)


def age_s_of(flag: FeatureFlag, metric: str) -> float:
    """How long after its first request a unit enters a metric of units, with what is known then."""
    return age_of(flag.evidence, metric)


def age_of(evidence: Evidence, metric: str) -> float:
    """The same, of what the flag says of it."""
    return evidence.feedback_age_s if metric == THUMBS else evidence.age_s
