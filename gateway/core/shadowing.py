"""Whether the other arm gets a copy of a request that was answered: the rules, the reasons not to, and the pair.

`unfit` looks at the request, once, when it has settled. `barred` looks at the world, again and again until the call is
made: some of what it says passes (`PASSING`), so that the request waits a little; the rest is final.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import msgspec

from gateway.core.sse import Usage
from rollout.core.evaluate import in_shadow
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gateway.core.call import Call
    from rollout.core.model import Decision, FeatureFlag, Snapshot

PROMPT_MAX_BYTES = 262_144
ANSWER_MAX_BYTES = 524_288
_OWN_TOOLS = frozenset({"function", "custom", ""})
_TRUE = b"true"


class Skip(StrEnum):
    """Why a sampled request got no shadow call: label values, so the set is closed."""

    FAILED = "failed"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    CONTINUED = "continued"
    SIDE_EFFECTS = "side_effects"
    UNSUPPORTED = "unsupported"
    WITHDRAWN = "withdrawn"
    RESIDENCY = "residency"
    UNKNOWN_UPSTREAM = "unknown_upstream"
    UNHEALTHY = "unhealthy"
    BUSY = "busy"
    UNDELIVERED = "undelivered"
    UNCONFIRMED = "unconfirmed"
    CONCURRENCY = "concurrency"
    BUDGET = "budget"
    CROWDED = "crowded"
    DRAINING = "draining"
    DEFECT = "defect"


PASSING = frozenset({Skip.UNHEALTHY, Skip.BUSY, Skip.UNDELIVERED, Skip.UNCONFIRMED, Skip.CONCURRENCY})
"""What may be over in a moment."""


class CallEnd(StrEnum):
    """How a shadow call ended: label values likewise."""

    OK = "ok"
    STATUS = "status"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    CUT = "cut"


NO_ANSWER = frozenset({Skip.UNKNOWN_UPSTREAM, Skip.UNHEALTHY, Skip.UNSUPPORTED})
"""The arm could not be asked: a caller who had been sent there would have got no answer either."""


class Surroundings(NamedTuple):
    """What else matters now. `upstreams`: whether an endpoint of each, by name, may be asked without harm.

    `reach`: upstreams that may get the tenant's data, None for all. `busy`: the gateway has no place to spare.
    `delivered`: the answer has left it.
    """

    upstreams: Mapping[str, bool]
    reach: Collection[str] | None
    busy: bool
    delivered: bool


class _Tool(msgspec.Struct):
    type: str = ""


_DECODE_TOOLS = msgspec.json.Decoder(list[_Tool]).decode


class Answered(msgspec.Struct, frozen=True):
    """One arm's answer. Seconds from sending it the request (the assigned arm's: from its arrival).

    `ttft_s`: to the first content, of streams.
    """

    arm: str
    upstream: str
    text: str
    usage: Usage | None
    ttft_s: float | None
    duration_s: float


class ShadowPair(msgspec.Struct, frozen=True):
    """Two answers to one prompt, for a judge. Holds what people wrote: never to be logged or put into metrics.

    `assigned` is what the caller got, `other` was made after it and seen by nobody. `candidate_first`: which one is to
    be shown first, drawn from the request's id, so it says nothing of the arm.
    """

    request_id: str
    at_s: float
    feature: str
    revision: int
    tenant: str
    unit_kind: str
    unit: str
    operation: str
    stream: bool
    prompt: bytes
    assigned: Answered
    other: Answered
    candidate_first: bool


def candidate_is_first(request_id: str) -> bool:
    """Which answer a judge sees first."""
    return crc32(request_id.encode()) & 1 == 1


def other_arm(arm: str) -> Arm:
    """The one that was not assigned."""
    return Arm.BASELINE if arm == Arm.CANDIDATE else Arm.CANDIDATE


def upstream_of(flag: FeatureFlag, arm: str) -> str:
    """Name of the arm's upstream."""
    return flag.candidate if arm == Arm.CANDIDATE else flag.baseline


def unfit(call: Call, *, ok: bool, prompt_bytes: int, answer_bytes: int) -> Skip | None:
    """Why an answered request itself can't be repeated elsewhere, None if it can."""
    if not ok:
        return Skip.FAILED
    if prompt_bytes > PROMPT_MAX_BYTES or answer_bytes > ANSWER_MAX_BYTES:
        return Skip.TOO_LARGE
    if call.place is not None:
        return Skip.CONTINUED
    return Skip.SIDE_EFFECTS if _has_side_effects(call) else None


def barred(decision: Decision, call: Call, snapshot: Snapshot, now: Surroundings) -> Skip | None:
    """Why the other arm can't be asked now, None if it can. A kill or a changed sample or arm is final.

    The one that was decided stays the assigned one, whatever the share has become.
    """
    compiled = snapshot.features.get(decision.feature)
    if compiled is None or not _stands(compiled.flag, decision) or not in_shadow(snapshot, decision, call.subject):
        return Skip.WITHDRAWN
    other = upstream_of(compiled.flag, other_arm(decision.arm))
    rules = (
        (now.reach is not None and other not in now.reach, Skip.RESIDENCY),
        (other not in now.upstreams, Skip.UNKNOWN_UPSTREAM),
        (not now.delivered, Skip.UNDELIVERED),
        (now.busy, Skip.BUSY),
        (not now.upstreams.get(other), Skip.UNHEALTHY),
    )
    return next((why for applies, why in rules if applies), None)


def _stands(flag: FeatureFlag, decision: Decision) -> bool:
    """Whether the arms may still be compared: nothing is killed, and the assigned one is who it was."""
    return flag.in_operation and upstream_of(flag, decision.arm) == decision.upstream


def shadow_fields(call: Call, operation: str) -> dict[str, msgspec.Raw]:
    """The body's top level for the other arm: as it came, but nothing shall be stored there."""
    fields = dict(call.fields)
    if operation == "responses" or "store" in fields:
        fields["store"] = msgspec.Raw(b"false")
    return fields


def _has_side_effects(call: Call) -> bool:
    """Whether the provider itself would act: tools of its own, other people's servers, work that outlives the call."""
    fields = call.fields
    if "mcp_servers" in fields or bytes(fields.get("background", msgspec.Raw())) == _TRUE:
        return True
    if "tools" not in fields or bytes(fields["tools"]) == b"null":
        return False
    try:
        return any(tool.type not in _OWN_TOOLS for tool in _DECODE_TOOLS(fields["tools"]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
