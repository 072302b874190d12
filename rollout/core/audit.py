"""The append-only audit log: what one entry holds, how it is made from a change, and its replay."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.core.gates import Verdict
from rollout.core.model import FeatureFlag


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one flag.

    `id` is the store's version after the change (0 until stored), so ids grow but may have gaps.
    `details` maps each changed field (JSON spelling) to its new value, complete enough to replay. `verdicts`: what the
    gates said when the change was decided.
    """

    id: int = 0
    at_s: float
    actor: str
    command: str
    reason: str
    feature: str
    revision_before: int
    revision_after: int
    share_before_millipct: int
    share_after_millipct: int
    details: dict[str, Any] = {}
    verdicts: tuple[Verdict, ...] = ()


def record_change(
    before: FeatureFlag | None,
    after: FeatureFlag,
    *,
    actor: str,
    command: str,
    reason: str,
    at_s: float,
    verdicts: Sequence[Verdict] = (),
) -> AuditEntry:
    """Describe the step from `before` (None: created) to `after`; only changed fields go into the details."""
    old = {} if before is None else _as_stored(before)
    new = _as_stored(after)
    changed = {name: value for name, value in new.items() if name != "revision" and old.get(name, ...) != value}
    revision = 0 if before is None else before.revision
    return AuditEntry(
        at_s=at_s,
        actor=actor,
        command=command,
        reason=reason,
        feature=after.feature,
        revision_before=revision,
        revision_after=revision + 1,
        share_before_millipct=0 if before is None else before.share_millipct,
        share_after_millipct=after.share_millipct,
        details=changed,
        verdicts=tuple(verdicts),
    )


def _as_stored(flag: FeatureFlag) -> dict[str, Any]:
    """The flag as JSON has it, lists for tuples: an entry equals what any store gives back of it."""
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(flag))
    return tree


def replay(entries: Iterable[AuditEntry]) -> dict[str, FeatureFlag]:
    """Rebuild every flag from its entries, oldest first."""
    states: dict[str, dict[str, Any]] = {}
    for entry in entries:
        state = states.setdefault(entry.feature, {})
        state.update(entry.details, revision=entry.revision_after)
    return {feature: msgspec.convert(state, FeatureFlag) for feature, state in states.items()}


def as_of(entries: Iterable[AuditEntry], revision: int) -> tuple[AuditEntry | None, FeatureFlag | None]:
    """Give the change that made `revision` of one flag, and the flag as it then was; None for what `entries` lack.

    `entries`: those of that flag, newest first.
    """
    older = [entry for entry in entries if entry.revision_after <= revision]
    made = older[0] if older and older[0].revision_after == revision else None
    if made is None or older[-1].revision_before != 0:
        return made, None
    return made, replay(reversed(older))[made.feature]
