"""Features named in the configuration exist in the store."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count

import msgspec

from rollout.core import ramp_commands
from rollout.core.audit import record_change
from rollout.core.commands import rename_upstreams
from rollout.core.errors import InvalidDocument, RevisionConflict, RolloutError, StoreReset
from rollout.core.evidence.names import is_gathered
from rollout.core.model import FeatureFlag
from rollout.core.position import NOWHERE, Position, Standing, compare
from rollout.core.ramp_commands import Order
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import GateMemory, Phase
from rollout.core.ramp_plan import Findings
from rollout.core.ramp_shown import encode_memory
from rollout.ports import Clock, Store

_log = logging.getLogger(__name__)
_ACTOR = "config"
_ATTEMPTS = 5
_CREATE, _RENAME, _END = "create", "rename", "end"
_WHY = {
    _CREATE: "named in the configuration",
    _RENAME: "the configuration names other upstreams",
    _END: "the configuration names another candidate, or another baseline to compare it with",
}
_UNDER_WAY = (Phase.RUNNING, Phase.PAUSED, Phase.MONITORING)


async def ensure_features(
    store: Store, wanted: Mapping[str, tuple[str, str]], clock: Clock, known: Position = NOWHERE
) -> None:
    """Create missing flags with share 0 and follow changed upstream names; `wanted`: feature -> (candidate, baseline).

    A ramp that is under way ends when its candidate is another one, or with gates of evidence what it is compared with:
    what it has shown says nothing of that. Its plan is ready to be started again. The share stays, as with documents.

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
        try:
            await _write(store, before, wanted, clock.now_s())
        except RevisionConflict:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


async def _write(store: Store, before: FeatureFlag | None, wanted: FeatureFlag, at_s: float) -> None:
    for command, after in _writes(before, wanted, at_s):
        reason = _WHY[command]
        entry = record_change(before, after, actor=_ACTOR, command=command, reason=reason, at_s=at_s)
        before = await store.put_if_revision(after, entry.revision_before, entry)
        if command == _END:
            _log.warning("%s: its ramp has ended: %s", after.feature, reason)
            with suppress(RolloutError):  # the next attempt voids it at the latest
                await store.put_memory(after.feature, before.revision, encode_memory(GateMemory()))


def _writes(before: FeatureFlag | None, wanted: FeatureFlag, at_s: float) -> Iterator[tuple[str, FeatureFlag]]:
    """Give the commands that lead to what is wanted, each with the flag after it."""
    if before is None:
        yield _CREATE, wanted
        return
    other = before.candidate != wanted.candidate or (
        before.baseline != wanted.baseline and any(map(is_gathered, before.gates))
    )
    ends = other and before.progress.phase in _UNDER_WAY
    order, ramp = Order(_ACTOR, _WHY[_END], at_s), ramp_of(before, GateMemory())
    ended = applied(before, ramp_commands.end(ramp, order)) if ends else before
    if ends:
        yield _END, ended
    after = rename_upstreams(ended, wanted.candidate, wanted.baseline)
    if ends and after.ramp is not None:  # else nobody would watch the gates at the share that stays
        after = applied(after, ramp_commands.create(ramp_of(after, GateMemory()), order, Findings()))
    if after != before:
        yield _RENAME, after


def _new_flag(feature: str, candidate: str, baseline: str) -> FeatureFlag:
    raw = {"feature": feature, "candidate": candidate, "baseline": baseline}
    try:
        return msgspec.convert(raw, FeatureFlag)
    except msgspec.ValidationError as fault:
        hint = "names are letters, digits, '.', '_' and '-', at most 64 characters"
        raise InvalidDocument(f"feature {feature!r} of the configuration: {fault}", hint) from fault
