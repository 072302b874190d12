"""How many requests each arm of a ramp's step was assigned: counted by every worker, added up in the store.

Requests, not units: a floor of traffic that a step must see, no statistical claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.ramp_model import Progress

CANDIDATE, BASELINE = 0, 1
"""Elements of the vector."""


def requests_key(feature: str, progress: Progress) -> SumKey:
    """Where requests that were assigned in this step of this attempt are added up. A step entered anew has its own."""
    return SumKey(feature, progress.attempt, f"requests.{round(progress.step_began_s * 1_000)}")


def samples_of(feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]]) -> int:
    """Give the candidate's requests since the step began."""
    vector = sums.get(requests_key(feature, progress), ())
    return vector[CANDIDATE] if vector else 0
