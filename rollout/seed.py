"""Features named in the configuration exist in the store."""

from collections.abc import Mapping
from itertools import count

import msgspec

from rollout.core import ramp_commands
from rollout.core.audit import record_change
from rollout.core.commands import rename_upstreams
from rollout.core.errors import InvalidDocument, RevisionConflict, StoreReset
from rollout.core.flag_changes import by_step
from rollout.core.model import FeatureFlag
from rollout.core.position import NOWHERE, Position, Standing, compare
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import GateMemory, Phase
from rollout.ports import Clock, Store

_ACTOR = "config"
_ATTEMPTS = 5
_CREATE = ("create", "named in the configuration")
_RENAME = ("rename", "the configuration names other upstreams")
_UNDER_WAY = (Phase.RUNNING, Phase.PAUSED, Phase.MONITORING)


async def ensure_features(
    store: Store, wanted: Mapping[str, tuple[str, str]], clock: Clock, known: Position = NOWHERE
) -> None:
    """Create missing flags with share 0 and follow changed upstream names; `wanted`: feature -> (candidate, baseline).

    Several processes may start at once: whoever loses a race reads again. Features no longer wanted stay. StoreReset
    when the store has lost data since it was seen at `known`: features begun anew would hide that.
    """
    standing = compare(known, await store.position())
    if standing is not Standing.FOLLOWS:
        raise StoreReset(f"the store has lost data ({standing})", "restore it, or `glidepath rollout accept-loss`")
    for feature, (candidate, baseline) in wanted.items():
        await _ensure(store, _new_flag(feature, candidate, baseline), clock)


async def _ensure(store: Store, wanted: FeatureFlag, clock: Clock) -> None:
    for attempt in count(1):  # ends when a read shows what is wanted
        before = await store.get(wanted.feature)
        after = wanted if before is None else _renamed(before, wanted, clock.now_s())
        if after == before:
            return
        command, reason = _CREATE if before is None else _RENAME
        entry = record_change(before, after, actor=_ACTOR, command=command, reason=reason, at_s=clock.now_s())
        try:
            await store.put_if_revision(after, entry.revision_before, entry)
        except RevisionConflict:
            if attempt == _ATTEMPTS:
                raise


def _renamed(before: FeatureFlag, wanted: FeatureFlag, now_s: float) -> FeatureFlag:
    """Follow the names; a ramp that is under way ends, since what it has shown was shown of another candidate."""
    after = rename_upstreams(before, wanted.candidate, wanted.baseline)
    if after.candidate == before.candidate or before.progress.phase not in _UNDER_WAY:
        return after
    order = Order(_ACTOR, _RENAME[1], now_s)
    return by_step(after, GateMemory(), lambda ramp: ramp_commands.end(ramp, order)).flag


def _new_flag(feature: str, candidate: str, baseline: str) -> FeatureFlag:
    raw = {"feature": feature, "candidate": candidate, "baseline": baseline}
    try:
        return msgspec.convert(raw, FeatureFlag)
    except msgspec.ValidationError as fault:
        hint = "names are letters, digits, '.', '_' and '-', at most 64 characters"
        raise InvalidDocument(f"feature {feature!r} of the configuration: {fault}", hint) from fault
