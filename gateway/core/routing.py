"""Which upstreams may answer a call, in which order: the assigned arm, and when the other one may step in."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from gateway.core.attributes import with_attributes
from gateway.core.errors import ApiError, unknown_model
from gateway.core.residency import out_of_reach
from rollout.core.evaluate import decide
from rollout.core.model import Arm, Decision, Reason, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.call import Call
    from gateway.core.response_ids import Place
    from rollout.core.model import CompiledFeature, FeatureFlag, Snapshot

MODEL_PREFIX = "copilot/"
_PREFIX_CHARS = len(MODEL_PREFIX)
_BASELINE = Arm.BASELINE
# Reasons that are the gateway's own; those of the flag are `rollout.core.model.Reason`.
BYPASS = "bypass"
PINNED = "PINNED"
RESIDENCY = "RESIDENCY"
ASSIGNED_HEADER = b"x-glidepath-assigned"
"""Of an answer, told back with the next request of the conversation: the arm that it began on."""
_BEGAN_ON_BASELINE = b"baseline"
_NO_HEADERS: Mapping[bytes, bytes] = MappingProxyType({})


class Principal(NamedTuple):
    """Who is calling, from the API key. `features`: names the key may call, None for all.

    A limit of None is no limit of the key's own; `priority` is "interactive" or "batch".
    """

    key_id: str
    name: str
    tenant: str
    features: frozenset[str] | None
    roles: frozenset[str]
    model_bypass: bool
    priority: str = "interactive"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_max: int | None = None
    budget_microusd_per_day: int | None = None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Who answers, and who may step in. `decision` is None for a real model called by its own name.

    `fallback` is the upstream that may answer when `upstream` fails ("" for none); it stands for the baseline.
    """

    feature: str
    assigned: str
    reason: str
    decision: Decision | None
    upstream: str
    fallback: str = ""
    mark: str = ""
    """Endpoint that must answer, where it matters which (`response_ids.mark_of`)."""


def plan(  # noqa: PLR0917  a keyword would cost each call more than all of this does with it
    call: Call,
    principal: Principal,
    snapshot: Snapshot,
    upstream_of_model: Mapping[str, str],
    reach: frozenset[str] | None = None,
    headers: Mapping[bytes, bytes] = _NO_HEADERS,
) -> Plan:
    """Decide who answers `call`. `reach`: upstreams that may get the tenant's data, None for all.

    `headers` (lower-case names) may pin the call to the baseline, where the feature is `sticky`. Raises `ApiError` 403
    or 404. The candidate's failure may be answered by the baseline, never the other way round: nobody meets the
    candidate who was not assigned to it.
    """
    model = call.model
    if not model.startswith(MODEL_PREFIX):
        return _bypass(model, principal, snapshot, upstream_of_model, reach)
    feature = model[_PREFIX_CHARS:]
    if principal.features is not None and feature not in principal.features:
        raise _no_access(model, principal.features)
    compiled = snapshot.features.get(feature)
    if compiled is None:
        raise _cannot_decide(model, decide(snapshot, feature, call.subject).reason, snapshot)
    if call.place is not None or reach is not None:
        forced = _forced(call, compiled.flag, reach)
        if forced is not None:
            return forced
    if compiled.reads_attributes and "metadata" in call.fields:
        decision = _decide_with_attributes(call, compiled, snapshot)
    else:
        decision = decide(snapshot, feature, call.subject)
    if decision.arm is _BASELINE:
        if decision.unit_digest and compiled.flag.sticky and headers.get(ASSIGNED_HEADER) == _BEGAN_ON_BASELINE:
            # Who began on the baseline is no unit whatever the bucket: the pinned ones would be missing from one arm.
            decision = replace(decision, unit_digest=0)
        return Plan(feature, decision.arm, decision.reason, decision, decision.upstream)
    flag = compiled.flag
    if flag.sticky and headers.get(ASSIGNED_HEADER) == _BEGAN_ON_BASELINE:
        return _undrawn(flag, _BASELINE, PINNED)
    return Plan(feature, decision.arm, decision.reason, decision, decision.upstream, flag.baseline)


def _decide_with_attributes(call: Call, compiled: CompiledFeature, snapshot: Snapshot) -> Decision:
    """As `decide`, with what the caller's metadata says; metadata that can't be read is a fault."""
    subject = with_attributes(call.subject, call.fields["metadata"])
    return compiled.fault if subject is None else decide(snapshot, compiled.flag.feature, subject)


def _forced(call: Call, flag: FeatureFlag, reach: frozenset[str] | None) -> Plan | None:
    """The arm that is not up to any draw, None if it is."""
    if call.place is not None:
        return _pinned(call.place, flag, call.model, reach)
    return None if reach is None else _within(reach, flag, call.model)


def _pinned(place: Place, flag: FeatureFlag, model: str, reach: frozenset[str] | None) -> Plan:
    """Whoever holds the response that the call continues, with nobody to fall back to.

    One that was not made through this gateway is the baseline's. The candidate's are lost while it may get nothing.
    """
    upstream = place.upstream or flag.baseline
    only_candidate = reach is not None and flag.baseline not in reach
    served = upstream == flag.candidate and _may_serve(flag) and (flag.share_millipct > 0 or only_candidate)
    if upstream != flag.baseline and not served:
        text = "The response that this request continues is with a model that serves this feature no more: start anew."
        raise ApiError(
            400, text, "invalid_request_error", param="previous_response_id", code="previous_response_not_found"
        )
    if reach is not None and upstream not in reach:
        raise out_of_reach(model)
    return _undrawn(flag, Arm.BASELINE if upstream == flag.baseline else Arm.CANDIDATE, PINNED, place.mark)


def _within(reach: frozenset[str], flag: FeatureFlag, model: str) -> Plan | None:
    """The one arm that a tenant may reach, before any bucket is drawn; None if it may reach both.

    A kill goes first: whoever may reach the candidate alone is refused then.
    """
    if flag.baseline in reach:
        return None if flag.candidate in reach else _undrawn(flag, Arm.BASELINE, RESIDENCY)
    if flag.candidate in reach and _may_serve(flag):
        return _undrawn(flag, Arm.CANDIDATE, RESIDENCY)
    raise out_of_reach(model)


def _may_serve(flag: FeatureFlag) -> bool:
    return flag.state is State.ENABLED and not flag.kill.on


def _undrawn(flag: FeatureFlag, arm: Arm, reason: str, mark: str = "") -> Plan:
    """An arm that was not drawn: out of the experiment, without unit and bucket, with nobody to fall back to."""
    upstream = flag.baseline if arm is _BASELINE else flag.candidate
    share, version = flag.share_millipct, flag.hash_version
    decision = Decision(flag.feature, arm, upstream, Reason.NO_UNIT, -1, None, flag.revision, share, version)
    return Plan(flag.feature, arm, reason, decision, upstream, mark=mark)


def _bypass(
    model: str,
    principal: Principal,
    snapshot: Snapshot,
    upstream_of_model: Mapping[str, str],
    reach: frozenset[str] | None,
) -> Plan:
    upstream = upstream_of_model.get(model)
    if upstream is None:
        raise unknown_model(model, callable_models(principal, snapshot, upstream_of_model))
    if not principal.model_bypass:
        text = f"Your key may call features, not the model `{model[:200]}` itself."
        raise ApiError(403, text, "invalid_request_error", param="model", code="model_bypass_forbidden")
    if reach is not None and upstream not in reach:
        raise out_of_reach(model)
    return Plan("", BYPASS, BYPASS, None, upstream)


def callable_models(principal: Principal, snapshot: Snapshot, real_models: Iterable[str]) -> list[str]:
    """Names that a key may call: its features, and real models if it has that right."""
    allowed = principal.features
    features = [MODEL_PREFIX + name for name in snapshot.features if allowed is None or name in allowed]
    return [*features, *real_models] if principal.model_bypass else features


def _no_access(model: str, features: frozenset[str]) -> ApiError:
    return unknown_model(model, [MODEL_PREFIX + name for name in features])


def _cannot_decide(model: str, reason: Reason, snapshot: Snapshot) -> ApiError:
    if reason is Reason.UNKNOWN_FEATURE:
        return unknown_model(model, [MODEL_PREFIX + name for name in snapshot.features])
    return ApiError(
        503, "The gateway has not loaded its features yet.", "server_error", code="not_ready", retry_after_s=1
    )
