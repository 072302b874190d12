"""Document <-> flags, strictly.

A document has two sibling maps: `flags`, plain flagd, rendered from ours and read by any flagd evaluator; and
`x-rollouts`, the source, which flagd ignores. Reading takes `x-rollouts` and checks that `flags` doesn't contradict.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import msgspec

from rollout.core.document_faults import in_words
from rollout.core.errors import DamagedFlags, InvalidDocument, nearest_names
from rollout.core.flagd import render_flag
from rollout.core.gate_fields import field_faults
from rollout.core.model import FeatureFlag
from rollout.core.prerequisites import check_prerequisites

_T = TypeVar("_T")
_ROLLOUTS = "x-rollouts"
_FLAGS_KEPT = 1_024
_TOP_LEVEL = ("flags", _ROLLOUTS, "metadata", "$schema", "$evaluators")
_FIX = "correct the document; the one in force stays until then"


def parse_document(
    document: bytes | str | Mapping[str, Any], *, trusted: bool = False, whole: bool = True
) -> dict[str, FeatureFlag]:
    """Read a document (JSON text or its tree) into flags by feature; InvalidDocument names the place and the fault.

    `trusted`: it was in force before, so whether its parts fit together is not asked again, lest all of it be lost.
    `whole`: it holds all features; of some of them, whether their prerequisites are there is the caller's to check.
    """
    tree = dict(document) if isinstance(document, Mapping) else read_tree(document)
    _refuse_unknown("document", tree, _TOP_LEVEL)
    entries = _object(_ROLLOUTS, tree.get(_ROLLOUTS, {}))
    flags = {feature: _entry(feature, entry) for feature, entry in entries.items()}
    if not trusted:
        for feature, flag in flags.items():
            _check_gates(f"{_ROLLOUTS}.{feature}", flag, entries[feature])
    rendered = _object("flags", tree.get("flags", {}))
    if whole and not trusted:
        check_prerequisites(flags)
    if not trusted:
        _check_rendering(rendered, flags)
    return flags


def read_tree(text: bytes | str) -> dict[str, Any]:
    """Read JSON text, strictly; InvalidDocument for anything but one object without a key given twice."""
    try:
        tree = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as fault:
        _refuse(f"the document is not JSON: {fault}")
    return _object("the document", tree)


def render_document(flags: Mapping[str, FeatureFlag]) -> dict[str, Any]:
    """Render the tree of a whole document; `parse_document` of it gives the same flags."""
    ordered = [flags[feature] for feature in sorted(flags)]
    return {
        "flags": {flag.feature: render_flag(flag) for flag in ordered},
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


@lru_cache(_FLAGS_KEPT)
def decode_flag(raw: bytes | str) -> FeatureFlag:
    """Decode what `encode_flag` made; InvalidDocument when it is damaged.

    The same text gives the same flag: of a hundred features one changes, and checking all rules takes a while.
    """
    return decode_stored(raw, FeatureFlag)


def decode_flags(documents: Iterable[bytes | str]) -> dict[str, FeatureFlag]:
    """Decode all flags of a store, by feature; DamagedFlags, with the others, when some are damaged."""
    flags: dict[str, FeatureFlag] = {}
    last: InvalidDocument | None = None
    for document in documents:
        try:
            flag = decode_flag(document)
        except InvalidDocument as fault:
            last = fault
        else:
            flags[flag.feature] = flag
    if last is not None:
        raise DamagedFlags(last, flags) from last
    return flags


def decode_stored(raw: bytes | str, kind: type[_T]) -> _T:
    """Decode one JSON record of a store; InvalidDocument when it is damaged."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeError) as fault:
        cause = f"a stored {kind.__name__} is damaged: {fault}"
        raise InvalidDocument(cause, "restore the store from a backup") from fault


def _without_name(flag: FeatureFlag) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.to_builtins(flag)
    del entry["feature"]
    return entry


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"the key {twice!r} appears twice in one object")
    return tree


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _object(place: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse(f"{place} must be an object")
    return dict(value)


def _entry(feature: object, value: object) -> FeatureFlag:
    place = f"{_ROLLOUTS}.{feature}"
    entry = _object(place, value)
    _refuse_unknown(place, entry, _keys(FeatureFlag) - {"feature"})
    _check_nested(place, entry, FeatureFlag)
    try:
        flag = msgspec.convert(entry | {"feature": feature}, FeatureFlag)
    except msgspec.ValidationError as fault:
        _refuse(f"{place}: {in_words(fault, FeatureFlag)}")
    encode_flag(flag)  # text that can't be stored again, as a lone surrogate, must not come into force
    return flag


def _check_nested(place: str, value: Mapping[str, Any], kind: type[msgspec.Struct]) -> None:
    """Refuse unknown keys in all objects and lists of objects that the fields of `kind` hold."""
    for field in msgspec.structs.fields(kind):
        inner, is_list = _struct_of(field.type)
        given = value.get(field.encode_name)
        if inner is None or field.encode_name not in value or (given is None and field.default is None):
            continue
        where = f"{place}.{field.encode_name}"
        if not is_list:
            _check_object(where, given, inner)
        elif isinstance(given, (list, tuple)):
            for index, each in enumerate(given):
                _check_object(f"{where}[{index}]", each, inner)


def _check_object(place: str, value: object, kind: type[msgspec.Struct]) -> None:
    given = _object(place, value)
    _refuse_unknown(place, given, _keys(kind))
    _check_nested(place, given, kind)


def _check_gates(place: str, flag: FeatureFlag, entry: Mapping[str, Any]) -> None:
    """Refuse fields that mean nothing to their gate, also where they say no more than the default."""
    written = zip(flag.gates, entry.get("gates", ()), strict=True)
    faults = [f"{place}: gate {gate.name!r} {fault}" for gate, given in written for fault in field_faults(gate, given)]
    if faults:
        _refuse("; ".join(faults))


def _struct_of(annotation: Any) -> tuple[type[msgspec.Struct] | None, bool]:  # noqa: ANN401  any annotation
    """Find the struct that a field holds (also `T | None`), or holds a tuple of; None for anything else."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation, False
    for argument in get_args(annotation):
        found, is_list = _struct_of(argument)
        if found is not None:
            return found, is_list or get_origin(annotation) is tuple
    return None, False


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
        if given != render_flag(flags[feature]):
            _refuse(f"flags.{feature} contradicts {_ROLLOUTS}.{feature}; edit {_ROLLOUTS} and leave `flags` out")


def _refuse(cause: str) -> NoReturn:
    raise InvalidDocument(cause, _FIX)
