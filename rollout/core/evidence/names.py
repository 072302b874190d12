"""The metrics that gates of source evidence may ask for, by name, and which flags gather them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.ramp_model import Phase

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag

METRICS = frozenset({"errors", "form", "judge", "thumbs", "ttft_p50", "ttft_p95", "itl_p95", "total_p95"})
"""Failed requests; free checks of the answer's form; scores of a judge; callers' ratings; latency quantiles."""

AGES_S = {"errors": 60.0}
"""How long after its first request a unit enters a metric, with what is known then."""

MEASURED: frozenset[str] = frozenset(AGES_S)
"""Those of them that a running gateway measures: a gate that asks for another one holds its ramp."""

_AT_REST = (Phase.DRAFT, Phase.COMPLETED)
_ALL = 100_000


def gathers(flag: FeatureFlag) -> bool:
    """Whether evidence is gathered under this flag: a ramp under way that asks for it, and arms that are drawn."""
    if flag.progress.phase in _AT_REST or not 0 < flag.share_millipct < _ALL:
        return False
    return any(gate.source == "evidence" and gate.metric in MEASURED for gate in flag.gates)
