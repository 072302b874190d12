"""Document <-> flags, strictly.

A document has two sibling maps: `flags`, plain flagd, rendered from ours and read by any flagd evaluator; and
`x-rollouts`, the source, which flagd ignores. Reading takes `x-rollouts` and checks that `flags` doesn't contradict.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec

from rollout.core.errors import InvalidDocument, nearest_names
from rollout.core.model import BUCKETS, Arm, FeatureFlag, Holdout, Kill, State

_T = TypeVar("_T")
_ROLLOUTS = "x-rollouts"
_TOP_LEVEL = ("flags", _ROLLOUTS, "metadata", "$schema", "$evaluators")
_NESTED: dict[str, type[msgspec.Struct]] = {"holdout": Holdout, "kill": Kill}
_FIX = "correct the document; the one in force stays until then"
_TEXT_VERSION = 2


def parse_document(document: bytes | str | Mapping[str, Any]) -> dict[str, FeatureFlag]:
    """Read a document (JSON text or its tree) into flags by feature; InvalidDocument names the place and the fault."""
    tree = dict(document) if isinstance(document, Mapping) else _tree(document)
    _refuse_unknown("document", tree, _TOP_LEVEL)
    entries = _object(_ROLLOUTS, tree.get(_ROLLOUTS, {}))
    flags = {feature: _entry(feature, entry) for feature, entry in entries.items()}
    _check_rendering(_object("flags", tree.get("flags", {})), flags)
    return flags


def render_document(flags: Mapping[str, FeatureFlag]) -> dict[str, Any]:
    """Render the tree of a whole document; `parse_document` of it gives the same flags."""
    ordered = [flags[feature] for feature in sorted(flags)]
    return {
        "flags": {flag.feature: _flagd(flag) for flag in ordered},
        _ROLLOUTS: {flag.feature: _without_name(flag) for flag in ordered},
    }


def encode_flag(flag: FeatureFlag) -> bytes:
    """Encode one flag as JSON for a store; InvalidDocument for one that could not be read back."""
    try:
        raw = msgspec.json.encode(flag)
        msgspec.json.decode(raw, type=FeatureFlag)
    except (msgspec.ValidationError, UnicodeError) as fault:
        raise InvalidDocument(f"{flag.feature!r} can't be stored: {fault}", _FIX) from fault
    return raw


def decode_flag(raw: bytes | str) -> FeatureFlag:
    """Decode what `encode_flag` made; InvalidDocument when it is damaged."""
    return decode_stored(raw, FeatureFlag)


def decode_stored(raw: bytes | str, kind: type[_T]) -> _T:
    """Decode one JSON record of a store; InvalidDocument when it is damaged."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeError) as fault:
        cause = f"a stored {kind.__name__} is damaged: {fault}"
        raise InvalidDocument(cause, "restore the store from a backup") from fault


def is_portable(flag: FeatureFlag) -> bool:
    """Tell whether a plain flagd evaluator, given the unit as targetingKey, decides exactly as we do.

    flagd 3 can only hash [flag name, targetingKey], so another salt can't be expressed, nor can a holdout.
    """
    settled = flag.kill.on or flag.state is State.DISABLED or flag.share_millipct == 0
    expressible = flag.hash_version == _TEXT_VERSION or flag.split_salt == flag.feature
    return settled or (expressible and flag.holdout.millipct == 0)


def _flagd(flag: FeatureFlag) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "state": flag.state.value,
        "variants": {Arm.CANDIDATE.value: flag.candidate, Arm.BASELINE.value: flag.baseline},
        "defaultVariant": Arm.BASELINE.value,
        "metadata": {
            "revision": flag.revision,
            "hashVersion": flag.hash_version,
            "bucketBy": flag.bucket_by.value,
            "portable": is_portable(flag),
        },
    }
    targeting = _targeting(flag)
    return rendered | ({"targeting": targeting} if targeting else {})


def _targeting(flag: FeatureFlag) -> dict[str, Any]:
    """Render the split. What flagd would draw differently is left out: its evaluators then say baseline to all."""
    if flag.kill.on or not is_portable(flag):
        return {}
    share = flag.share_millipct
    arms = [[Arm.CANDIDATE.value, share], [Arm.BASELINE.value, BUCKETS - share]]
    if flag.hash_version == _TEXT_VERSION:
        unit = {"var": "targetingKey"}
        has_unit = {"!!": [unit]}
        return {"if": [has_unit, {"fractional": [{"cat": [flag.split_salt, unit]}, *arms]}, Arm.BASELINE.value]}
    return {"fractional": arms}


def _without_name(flag: FeatureFlag) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.to_builtins(flag)
    del entry["feature"]
    return entry


def _tree(text: bytes | str) -> dict[str, Any]:
    try:
        tree = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as fault:
        _refuse(f"the document is not JSON: {fault}")
    return _object("the document", tree)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"the key {twice!r} appears twice in one object")
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _object(place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(f"{place} must be an object")
    return dict(value)


def _entry(feature: object, value: object) -> FeatureFlag:
    place = f"{_ROLLOUTS}.{feature}"
    entry = _object(place, value)
    _refuse_unknown(place, entry, _keys(FeatureFlag) - {"feature"})
    for name, kind in _NESTED.items():
        _refuse_unknown(f"{place}.{name}", _object(f"{place}.{name}", entry.get(name, {})), _keys(kind))
    try:
        flag = msgspec.convert(entry | {"feature": feature}, FeatureFlag)
    except msgspec.ValidationError as fault:
        _refuse(f"{place}: {fault}")
    encode_flag(flag)  # text that can't be stored again, as a lone surrogate, must not come into force
    return flag


def _keys(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def _refuse_unknown(place: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
    names = sorted(known)
    for key in value:
        if key not in names:
            nearest = nearest_names(str(key), names)
            meant = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(names)}"
            _refuse(f"{place} has an unknown key {key!r}; {meant}")


def _check_rendering(rendered: Mapping[str, Any], flags: Mapping[str, FeatureFlag]) -> None:
    """Refuse a `flags` map that says something else than its source: whoever edited it would be ignored."""
    for feature, given in rendered.items():
        if feature not in flags:
            _refuse(f"flags.{feature} has no entry in {_ROLLOUTS}")
        if given != _flagd(flags[feature]):
            _refuse(f"flags.{feature} contradicts {_ROLLOUTS}.{feature}; edit {_ROLLOUTS} and leave `flags` out")


def _refuse(cause: str) -> NoReturn:
    raise InvalidDocument(cause, _FIX)
