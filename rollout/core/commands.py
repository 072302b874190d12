"""What an operator may do to a flag: pure steps from one flag to the next."""

from msgspec.structs import replace

from rollout.core.errors import InvalidArgument, ShareIncreaseRefused
from rollout.core.model import BUCKETS, FeatureFlag, Kill

_REASON_LIMIT = 500


def set_share(flag: FeatureFlag, share_millipct: int, *, killed_locally: bool = False) -> FeatureFlag:
    """Set the share; while a kill is on it may only shrink, since lifting the kill brings it into force at once.

    `killed_locally`: this replica kills the feature, whatever the flag says.
    """
    if not 0 <= share_millipct <= BUCKETS:
        raise InvalidArgument(f"{share_millipct} is not a share in thousandths of a percent", f"use 0..{BUCKETS}")
    if (flag.kill.on or killed_locally) and share_millipct > flag.share_millipct:
        where = "" if flag.kill.on else " on this replica"
        cause = f"{flag.feature!r} is killed{where}, its share can't be raised"
        raise ShareIncreaseRefused(cause, "lift the kill first; it restores the share as it was")
    return replace(flag, share_millipct=share_millipct)


def kill(flag: FeatureFlag, *, actor: str, reason: str, at_s: float) -> FeatureFlag:
    """Send everybody to the baseline; the share stays in the document."""
    return replace(flag, kill=Kill(on=True, actor=actor, at_s=at_s, reason=reason))


def unkill(flag: FeatureFlag) -> FeatureFlag:
    """Lift the kill: the share is in force again as it stood."""
    return replace(flag, kill=Kill())


def rename_upstreams(flag: FeatureFlag, candidate: str, baseline: str) -> FeatureFlag:
    """Point the arms at other upstreams."""
    return replace(flag, candidate=candidate, baseline=baseline)


def checked_reason(text: str) -> str:
    """Return the reason without surrounding space; InvalidArgument when it is empty or too long."""
    reason = text.strip()
    if not reason:
        raise InvalidArgument("a change needs a reason", "say in one line why, for the audit log")
    if len(reason) > _REASON_LIMIT:
        raise InvalidArgument(f"the reason has {len(reason)} characters", f"at most {_REASON_LIMIT}")
    return reason
