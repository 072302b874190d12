"""OpenFeature's remote evaluation protocol (OFREP) over a snapshot: request bytes -> context, decision -> answer.

| context                            | is                                                                   |
| ---------------------------------- | -------------------------------------------------------------------- |
| conversation, user, tenant         | the unit of that name                                                |
| targetingKey                       | the unit that the flag buckets by, unless it is given by its name    |
| text, numbers, booleans, lists of text by other names | attributes that eligibility rules may read        |

`variant` is the arm, `value` the name of its upstream. A fault in deciding is an answer (the baseline, reason ERROR):
an error code would make a client take whatever default its code has.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rollout.core.evaluate import decide
from rollout.core.model import NO_ATTRIBUTES, Reason, Subject, UnitKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollout.core.model import Attribute, Decision, Snapshot

BODY_MAX_BYTES = 65_536
UNIT_MAX_CHARS = 512

PARSE_ERROR, INVALID_CONTEXT, GENERAL = "PARSE_ERROR", "INVALID_CONTEXT", "GENERAL"
TARGETING_KEY_MISSING, FLAG_NOT_FOUND = "TARGETING_KEY_MISSING", "FLAG_NOT_FOUND"

_STATUS = {PARSE_ERROR: 400, INVALID_CONTEXT: 400, TARGETING_KEY_MISSING: 400, FLAG_NOT_FOUND: 404, GENERAL: 500}
_UNITS = tuple(kind.value for kind in UnitKind if kind is not UnitKind.REQUEST)  # a request has no arm to be asked for
_SHOWN_CHARS = 100
# Ours -> OpenFeature's. A held-out subject was drawn at random as well.
_REASONS = {
    "SPLIT": "SPLIT",
    "HOLDOUT": "SPLIT",
    "DISABLED": "DISABLED",
    "KILLED": "DISABLED",
    "INELIGIBLE": "DEFAULT",
    "PREREQUISITE": "DEFAULT",
    "ERROR": "ERROR",
}


class Asker(NamedTuple):
    """What a caller may ask for: one tenant or any (None), some features or all (None)."""

    tenant: str | None = None
    features: frozenset[str] | None = None


class Context(NamedTuple):
    """Who is asked about. An absent part is ""; `units` has an entry for each kind; `attributes`: for rules."""

    targeting_key: str
    units: Mapping[str, str]
    attributes: Mapping[str, Attribute] = NO_ATTRIBUTES


class Refused(Exception):  # noqa: N818  named for what happened
    """A request that can't be evaluated, with OpenFeature's error code."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details

    @property
    def status(self) -> int:
        """HTTP's number for it."""
        return _STATUS[self.code]


class Answered(NamedTuple):
    """One flag's part of an answer, with the status it has when it stands alone."""

    status: int
    tree: dict[str, Any]


def read_context(body: bytes, asker: Asker) -> Context:
    """Read a request's body; Refused when it can't be meant, or asks about a tenant that isn't the caller's."""
    context = _context_tree(body)
    units = {name: _text(context, name) for name in _UNITS}
    if asker.tenant is not None:
        if units["tenant"] not in {"", asker.tenant}:
            raise Refused(INVALID_CONTEXT, "the context names a tenant that is not the caller's")
        units["tenant"] = asker.tenant
    return Context(_text(context, "targetingKey"), units, _attributes(context))


def evaluate(snapshot: Snapshot, feature: str, context: Context, asker: Asker) -> Answered:
    """Decide one feature. One that the caller may not see is one that does not exist."""
    if asker.features is not None and feature not in asker.features:
        return failure(FLAG_NOT_FOUND, f"there is no flag {feature[:_SHOWN_CHARS]!r}", feature)
    decision = decide(snapshot, feature, _subject(snapshot, feature, context))
    if decision.reason is Reason.UNKNOWN_FEATURE:
        return failure(FLAG_NOT_FOUND, f"there is no flag {feature[:_SHOWN_CHARS]!r}", feature)
    if decision.reason is Reason.NO_SNAPSHOT:
        return failure(GENERAL, "no flags have been loaded yet", feature)
    if decision.reason is Reason.NO_UNIT:
        return failure(TARGETING_KEY_MISSING, "give a targetingKey, or the unit by its name", feature)
    return Answered(200, _success(decision, snapshot.version))


def evaluate_all(snapshot: Snapshot, context: Context, asker: Asker) -> Answered:
    """Decide every feature the caller may see, in the order of their names."""
    if snapshot.version < 0:
        return failure(GENERAL, "no flags have been loaded yet")
    visible = _visible(snapshot.features, asker)
    return Answered(200, {"flags": [evaluate(snapshot, feature, context, asker).tree for feature in visible]})


def failure(code: str, details: str, feature: str | None = None) -> Answered:
    """Make the answer of an error, about one flag or about all."""
    key = {} if feature is None else {"key": feature[:_SHOWN_CHARS]}
    return Answered(_STATUS[code], key | {"errorCode": code, "errorDetails": details})


def encode(tree: dict[str, Any]) -> bytes:
    """Encode an answer: the same tree always gives the same bytes."""
    return json.dumps(tree, separators=(",", ":"), sort_keys=True).encode()


def etag_of(body: bytes) -> str:
    """The ETag of an answer: whatever changes it (a document, a local kill, the context) changes the tag."""
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def matches(if_none_match: str | None, etag: str) -> bool:
    """Tell whether the caller has this answer already; weak and strong tags are compared alike."""
    if if_none_match is None:
        return False
    held = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in held or "*" in held


def _context_tree(body: bytes) -> Mapping[str, Any]:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(PARSE_ERROR, "the body is not JSON") from None
    if not isinstance(tree, dict):
        raise Refused(PARSE_ERROR, "the body must be an object")
    context = tree.get("context", {})
    if not isinstance(context, dict):
        raise Refused(INVALID_CONTEXT, "context must be an object")
    return context


def _text(context: Mapping[str, Any], name: str) -> str:
    value = context.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(INVALID_CONTEXT, f"context.{name} must be text")
    if len(value) > UNIT_MAX_CHARS:
        raise Refused(INVALID_CONTEXT, f"context.{name} is longer than {UNIT_MAX_CHARS} characters")
    return value


def _attributes(context: Mapping[str, Any]) -> Mapping[str, Attribute]:
    """What rules can read; SDKs also send what they can't (objects, nothing), which is left out."""
    found: dict[str, Attribute] = {}
    for name, value in context.items():
        if name in {"targetingKey", *_UNITS}:
            continue
        if isinstance(value, (str, bool, int, float)):
            found[name] = value
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            found[name] = tuple(value)
    return found or NO_ATTRIBUTES


def _subject(snapshot: Snapshot, feature: str, context: Context) -> Subject:
    compiled = snapshot.features.get(feature)
    units = dict(context.units)
    if compiled is not None:
        wanted = compiled.flag.bucket_by.value
        units[wanted] = units.get(wanted) or context.targeting_key
    return Subject(
        units["conversation"], units["user"], units["tenant"], units.get("request"), attributes=context.attributes
    )


def _success(decision: Decision, version: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "decision": decision.reason.value,
        "revision": decision.revision,
        "shareMillipct": decision.share_millipct,
        "version": version,
    }
    if decision.unit_kind is not None:
        metadata |= {"bucket": decision.bucket, "bucketBy": decision.unit_kind.value}
    return {
        "key": decision.feature,
        "reason": _REASONS[decision.reason.value],
        "variant": decision.arm.value,
        "value": decision.upstream,
        "metadata": metadata,
    }


def _visible(features: Iterable[str], asker: Asker) -> list[str]:
    return sorted(name for name in features if asker.features is None or name in asker.features)
