"""Which answers are checked, and what is handed on of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from gateway.core.checks.answer_checks import Checks
from gateway.core.thinning import Thinning
from rollout.core.evidence.names import FORM, is_gathered
from rollout.core.model import BUCKETS
from rollout.core.ramp_model import Phase

if TYPE_CHECKING:
    from rollout.core.model import Decision, FeatureFlag, Snapshot

_SALTED = crc32(b"checks:")
_AT_REST = (Phase.DRAFT, Phase.COMPLETED)


class Unchecked(StrEnum):
    """Why a sampled answer was not checked: label values, so the set is closed."""

    FAILED = "failed"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CROWDED = "crowded"
    DRAINING = "draining"
    DEFECT = "defect"


class CheckedAnswer(msgspec.Struct, frozen=True):
    """The verdicts on one answer and whose it was. Holds nothing of what was written.

    `assigned`: the arm, whoever answered. `unit_digest`, `tenant`: as in Records.
    """

    request_id: str
    at_s: float
    feature: str
    revision: int
    assigned: str
    unit_kind: str
    bucket: int
    checks: Checks
    unit_digest: int = 0
    tenant: str = ""


def features_checked(snapshot: Snapshot, *, every_feature: bool) -> tuple[str, ...]:
    """Whose answers are sampled: where a ramp under way has a gate on what checks find, or everywhere."""
    features = snapshot.features
    return tuple(name for name in features if every_feature or _asks_for_checks(features[name].flag))


def in_check_sample(request_id: str, millipct: int) -> bool:
    """Whether the answer to a request is one of the `millipct` in 100 000 that are checked, whatever its arm."""
    return crc32(request_id.encode(), _SALTED) % BUCKETS < millipct


class CheckSample:
    """Which answers one worker checks. Where they are more than it can check, it is thinned for a time.

    Whether one is in is asked at its answer and at its age: it goes by what was in force when its request arrived.
    """

    def __init__(self, millipct: int = 0) -> None:
        """`millipct`: of answers."""
        self._thinning = Thinning(millipct)

    @property
    def millipct(self) -> int:
        """What is in force for requests that come next."""
        return self._thinning.limit

    def takes(self, request_id: str, arrived_s: float) -> bool:
        """Whether the answer to a request that arrived then (Unix time) is checked, whatever its arm."""
        return in_check_sample(request_id, self._thinning.at(arrived_s))

    def thin(self, now_s: float, arrived_s: float) -> None:
        """Leave out half of what comes, because there was no room for one that had arrived then.

        Whoever is turned away while in the sample counts as unknown, and many of those make two arms look alike.
        """
        self._thinning.halve_later(now_s, arrived_s)

    def rest(self, now_s: float, *, quiet: bool) -> None:
        """To be told now and then whether there is room for a multiple: after minutes of it the sample grows back."""
        self._thinning.rest(now_s, quiet=quiet)


def checked(request_id: str, at_s: float, decision: Decision, checks: Checks, tenant: str = "") -> CheckedAnswer:
    """The verdicts with where they belong."""
    unit_kind = decision.unit_kind or ""
    return CheckedAnswer(
        request_id,
        at_s,
        decision.feature,
        decision.revision,
        decision.arm,
        unit_kind,
        decision.bucket,
        checks,
        decision.unit_digest,
        tenant,
    )


def _asks_for_checks(flag: FeatureFlag) -> bool:
    # Whatever its share is: at the change from one step to the next answers of the last one are still to come.
    ramp = flag.progress
    if not ramp.attempt or ramp.phase in _AT_REST:
        return False
    return any(gate.metric == FORM and is_gathered(gate) for gate in flag.gates)
