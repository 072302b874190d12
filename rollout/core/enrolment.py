"""The early-access list: wishes, approvals, refusals. Pure steps from one flag to the next.

          request    approve    decline    forget
    (none)  REQUESTED  APPROVED   -          -
 REQUESTED  REQUESTED  APPROVED   DECLINED   (none)
  APPROVED  APPROVED   APPROVED   DECLINED   (none)
  DECLINED  REQUESTED  APPROVED   DECLINED   (none)

A step to where an entry is already changes nothing, so a repeated request is no new revision. Nobody approves a wish of
their own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.model import ENROLMENTS_MAX, Enrolment, EnrolmentState

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag

_REQUESTED, _APPROVED, _DECLINED = EnrolmentState.REQUESTED, EnrolmentState.APPROVED, EnrolmentState.DECLINED


class EnrolmentStep(StrEnum):
    """What may be done to an entry of the early-access list; FORGET removes it, for whoever asks to be forgotten."""

    REQUEST = "request"
    APPROVE = "approve"
    DECLINE = "decline"
    FORGET = "forget"


_TABLE: dict[tuple[EnrolmentState | None, EnrolmentStep], EnrolmentState | None] = {
    (None, EnrolmentStep.REQUEST): _REQUESTED,
    (None, EnrolmentStep.APPROVE): _APPROVED,
    (_REQUESTED, EnrolmentStep.REQUEST): _REQUESTED,
    (_REQUESTED, EnrolmentStep.APPROVE): _APPROVED,
    (_REQUESTED, EnrolmentStep.DECLINE): _DECLINED,
    (_REQUESTED, EnrolmentStep.FORGET): None,
    (_APPROVED, EnrolmentStep.REQUEST): _APPROVED,
    (_APPROVED, EnrolmentStep.APPROVE): _APPROVED,
    (_APPROVED, EnrolmentStep.DECLINE): _DECLINED,
    (_APPROVED, EnrolmentStep.FORGET): None,
    (_DECLINED, EnrolmentStep.REQUEST): _REQUESTED,
    (_DECLINED, EnrolmentStep.APPROVE): _APPROVED,
    (_DECLINED, EnrolmentStep.DECLINE): _DECLINED,
    (_DECLINED, EnrolmentStep.FORGET): None,
}


def find(flag: FeatureFlag, tenant: str, user: str = "") -> Enrolment | None:
    """Give the entry of a user, or of a whole tenant ("")."""
    entries = flag.eligibility.early_access
    return next((each for each in entries if (each.tenant, each.user) == (tenant, user)), None)


def enrol(
    flag: FeatureFlag, step: EnrolmentStep, tenant: str, user: str = "", *, actor: str, at_s: float
) -> FeatureFlag:
    """Take one step for a user, or a whole tenant (""); the flag itself when nothing changes.

    InvalidArgument for a step that the table lacks, an approval of one's own wish, or a full list.
    """
    before = find(flag, tenant, user)
    state = None if before is None else before.state
    who = f"user {user!r} of tenant {tenant!r}" if user else f"tenant {tenant!r}"
    if (state, step) not in _TABLE:
        raise InvalidArgument(f"{who} is not on the early-access list of {flag.feature!r}", "nothing to do")
    target = _TABLE[state, step]
    if target is state:
        return flag
    if target is _APPROVED and before is not None and before.requested_by == actor:
        raise InvalidArgument(f"{actor!r} asked for this early access", "somebody else must approve it")
    others = tuple(each for each in flag.eligibility.early_access if each is not before)
    if target is None:
        return _with_list(flag, others)
    if len(others) == ENROLMENTS_MAX:
        cause = f"the early-access list of {flag.feature!r} is full ({ENROLMENTS_MAX} entries)"
        raise InvalidArgument(cause, "forget old entries, or list whole tenants")
    return _with_list(flag, (*others, _moved(before or Enrolment(tenant, user), target, actor, at_s)))


def _moved(entry: Enrolment, target: EnrolmentState, actor: str, at_s: float) -> Enrolment:
    if target is _REQUESTED:
        return Enrolment(entry.tenant, entry.user, target, requested_by=actor, requested_at_s=at_s)
    return replace(entry, state=target, decided_by=actor, decided_at_s=at_s)


def _with_list(flag: FeatureFlag, entries: tuple[Enrolment, ...]) -> FeatureFlag:
    return replace(flag, eligibility=replace(flag.eligibility, early_access=entries))
