"""Which upstreams may answer a call, in which order: the assigned arm, and when the other one may step in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.errors import ApiError, unknown_model
from gateway.core.outcome import CALLER_ERRORS_FROM, OPERATORS_FAULTS, REDIRECTS_FROM
from gateway.core.residency import out_of_reach
from rollout.core.evaluate import decide
from rollout.core.model import Arm, Decision, Reason, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.call import Call
    from gateway.core.outcome import Failure
    from rollout.core.model import FeatureFlag, Snapshot

MODEL_PREFIX = "copilot/"
_PREFIX_CHARS = len(MODEL_PREFIX)
_BASELINE = Arm.BASELINE
# Reasons that are the gateway's own; those of the flag are `rollout.core.model.Reason`.
BYPASS = "bypass"
RESIDENCY = "RESIDENCY"
_FINAL_FAILURES = frozenset({"total_timeout", "closed"})
_UNAVAILABLE_STATUS = OPERATORS_FAULTS | frozenset({429, 500, 502, 503, 504, 529})


class Principal(NamedTuple):
    """Who is calling, from the API key. `features`: names the key may call, None for all."""

    key_id: str
    name: str
    tenant: str
    features: frozenset[str] | None
    roles: frozenset[str]
    model_bypass: bool


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


def plan(
    call: Call,
    principal: Principal,
    snapshot: Snapshot,
    upstream_of_model: Mapping[str, str],
    reach: frozenset[str] | None = None,
) -> Plan:
    """Decide who answers `call`. `reach`: upstreams that may get the tenant's data, None for all.

    Raises `ApiError` 403 or 404. The candidate's failure may be answered by the baseline, never the other way round:
    nobody meets the candidate who was not assigned to it.
    """
    model = call.model
    if not model.startswith(MODEL_PREFIX):
        return _bypass(model, principal, snapshot, upstream_of_model, reach)
    feature = model[_PREFIX_CHARS:]
    if principal.features is not None and feature not in principal.features:
        raise _no_access(model, principal.features)
    if reach is not None and feature in snapshot.features:
        forced = _within(reach, snapshot.features[feature].flag, model)
        if forced is not None:
            return forced
    decision = decide(snapshot, feature, call.subject)
    if not decision.upstream:
        raise _cannot_decide(model, decision.reason, snapshot)
    fallback = "" if decision.arm is _BASELINE else snapshot.features[feature].flag.baseline
    return Plan(feature, decision.arm, decision.reason, decision, decision.upstream, fallback)


def may_fail_over(failure: Failure) -> bool:
    """Whether the next target may be tried after this break (the caller has seen nothing yet): not out of time."""
    return failure.kind not in _FINAL_FAILURES


def status_fails_over(status: int) -> bool:
    """Whether an answer of this status is the upstream's trouble, which another upstream may not share."""
    return status in _UNAVAILABLE_STATUS or REDIRECTS_FROM <= status < CALLER_ERRORS_FROM


def _within(reach: frozenset[str], flag: FeatureFlag, model: str) -> Plan | None:
    """The one arm that a tenant may reach, before any bucket is drawn; None if it may reach both.

    The request is out of the experiment: it has no unit and no bucket, and nobody to fall back to. A kill goes first:
    whoever may reach the candidate alone is refused then.
    """
    if flag.baseline in reach:
        if flag.candidate in reach:
            return None
        arm, upstream = Arm.BASELINE, flag.baseline
    elif flag.candidate in reach and flag.state is State.ENABLED and not flag.kill.on:
        arm, upstream = Arm.CANDIDATE, flag.candidate
    else:
        raise out_of_reach(model)
    decision = Decision(flag.feature, arm, upstream, Reason.NO_UNIT, -1, None, flag.revision, flag.share_millipct)
    return Plan(flag.feature, arm, RESIDENCY, decision, upstream)


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
