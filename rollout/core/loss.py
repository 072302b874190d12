"""What becomes of flags when a person accepts that the store has lost data: nobody gets the candidate who didn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core import ramp_commands
from rollout.core.flag_changes import by_step
from rollout.core.ramp_model import GateMemory, Phase, Progress

if TYPE_CHECKING:
    from rollout.core.flag_changes import Step
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_commands import Order

_WHO_IS_TREATED = (
    *("state", "candidate", "hash_version", "split_salt", "bucket_by", "eligibility", "prerequisites"),
    *("holdout", "holdout_salt"),
)


def kept(known: FeatureFlag | None, found: FeatureFlag | None, order: Order) -> FeatureFlag:
    """Give the flag to go on with, of what a replica knew and what the store has; not both are None.

    What the store lacks is as it was known, at share 0. Else it is as found, yet with the smaller share (0 if the two
    treat different people), a kill of either, and rolled back if it was known so. A ramp that was under way is paused.
    """
    if found is None:
        if known is None:
            raise ValueError("there is no flag to keep")
        return _begun_anew(known)
    if known is None:
        return _lowered(found, 0, order)
    share = min(known.share_millipct, found.share_millipct) if _treat_alike(known, found) else 0
    flag = replace(found, kill=found.kill if found.kill.on else known.kill)
    if known.progress.phase is Phase.ROLLED_BACK is not found.progress.phase:
        flag = _taken(flag, lambda ramp: ramp_commands.roll_back(ramp, order))
    return _lowered(flag, min(share, flag.share_millipct), order)


def _treat_alike(known: FeatureFlag, found: FeatureFlag) -> bool:
    return all(getattr(known, name) == getattr(found, name) for name in _WHO_IS_TREATED)


def _lowered(flag: FeatureFlag, share: int, order: Order) -> FeatureFlag:
    """As an operator sets the share, which pauses what is under way."""
    return _taken(flag, lambda ramp: ramp_commands.set_share(ramp, order, share))


def _taken(flag: FeatureFlag, step: Step) -> FeatureFlag:
    return by_step(flag, GateMemory(), step).flag


def _begun_anew(known: FeatureFlag) -> FeatureFlag:
    progress = known.progress
    if progress.phase is not Phase.ROLLED_BACK:
        progress = Progress(Phase.DRAFT if known.ramp is None else Phase.READY, progress.attempt)
    return replace(known, revision=0, share_millipct=0, progress=progress)
