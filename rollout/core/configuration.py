"""What of a flag is configuration, owned by its document, and what is state, owned by commands and ticks.

State is the share, the kill, the ramp's progress, the revision, and the early-access list, which people enter and
others decide on. A document gives a flag that exists no state: it may be as old as the file it lies in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import fields, replace

from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from msgspec.structs import FieldInfo

STATE = ("share_millipct", "kill", "progress", "revision")
EARLY_ACCESS = "eligibility.early_access"

_NOT_COMPARED = frozenset({"feature", "schemaVersion", "revision", "progress"})
_ALWAYS_SHOWN = frozenset({"candidate", "baseline", "schemaVersion", "state", "hashVersion", "bucketBy"})
_PRUNED = ("eligibility", "holdout", "shadow")
_NAMED_BY = {"gates": ("name",), "prerequisites": ("feature",), "early_access": ("tenant", "user")}


class Change(msgspec.Struct, frozen=True):
    """One leaf of a flag that differs, as JSON values; None where it is absent."""

    path: str
    before: Any
    after: Any


class _Leaf(NamedTuple):
    """A leaf's value, and its default (None: it has none)."""

    value: Any
    default: Any


def configured(stored: FeatureFlag, wanted: FeatureFlag) -> FeatureFlag:
    """Give `stored` the configuration of `wanted`; its state stays."""
    return replace(
        wanted,
        revision=stored.revision,
        share_millipct=stored.share_millipct,
        kill=stored.kill,
        progress=stored.progress,
        eligibility=replace(wanted.eligibility, early_access=stored.eligibility.early_access),
    )


def created(wanted: FeatureFlag) -> FeatureFlag:
    """Give the flag that a document makes where there was none: with the share and kill it names, at revision 0."""
    return replace(wanted, revision=0, progress=Progress())


def unwritten_state(stored: FeatureFlag, wanted: FeatureFlag, given: Collection[str]) -> tuple[str, ...]:
    """Name the state that a document gives (`given`: its keys) otherwise than it stands; the revision left out."""
    names = [name for name in STATE[:-1] if name in given and getattr(stored, name) != getattr(wanted, name)]
    if EARLY_ACCESS in given and stored.eligibility.early_access != wanted.eligibility.early_access:
        names.append(EARLY_ACCESS)
    return tuple(names)


def diff(before: FeatureFlag | None, after: FeatureFlag) -> tuple[Change, ...]:
    """Give every leaf in which two flags differ, but for revision and progress; None: the flag is new.

    Of what one of them lacks as a whole, such as a gate, leaves at their defaults are left out.
    """
    old = _leaves_of(_blank(after.feature) if before is None else before)
    if before is None:
        del old["candidate"], old["baseline"]
    new = _leaves_of(after)
    paths = [*new, *(path for path in old if path not in new)]
    return tuple(Change(path, *pair) for path in paths if (pair := _difference(old.get(path), new.get(path))))


def same(one: object, other: object) -> bool:
    """Tell whether two values are the same JSON: to Python, true and 1 would be equal."""
    return msgspec.json.encode(one) == msgspec.json.encode(other)


def exported(flag: FeatureFlag, *, with_state: bool) -> dict[str, Any]:
    """Render the entry of a document: what differs from the defaults, and always what decides the draw.

    `with_state`: share, kill and early-access list, too; read into an empty store it gives the same flag but for
    revision and progress.
    """
    entry, blank = _json(flag), _json(_blank(flag.feature))
    for name in ("feature", "revision", "progress", *(() if with_state else STATE)):
        entry.pop(name, None)
    if not with_state:
        entry["eligibility"].pop("early_access", None)
    for name in _PRUNED:
        entry[name] = {key: value for key, value in entry[name].items() if value != blank[name][key]}
    return {name: value for name, value in entry.items() if name in _ALWAYS_SHOWN or value not in (blank[name], {})}


def _blank(feature: str) -> FeatureFlag:
    return FeatureFlag(feature=feature, candidate="", baseline="")


def _difference(old: _Leaf | None, new: _Leaf | None) -> tuple[Any, Any] | None:
    """Give both values of a leaf, None where it is absent; None if they don't differ."""
    was, now = (None if each is None else each.value for each in (old, new))
    only = old or new
    if (old is None or new is None) and only is not None and same(only.value, only.default):
        return None
    return None if same(was, now) else (was, now)


def _leaves_of(flag: FeatureFlag) -> dict[str, _Leaf]:
    return dict(_leaves(flag, "", _NOT_COMPARED))


def _leaves(value: msgspec.Struct, path: str, left_out: Collection[str] = ()) -> Iterator[tuple[str, _Leaf]]:
    for field in fields(value):
        if field.encode_name not in left_out:
            yield from _leaf(getattr(value, field.name), f"{path}{field.encode_name}", field)


def _leaf(value: object, path: str, field: FieldInfo) -> Iterator[tuple[str, _Leaf]]:
    if isinstance(value, msgspec.Struct):
        yield from _leaves(value, f"{path}.")
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        keys = _keys(value, _NAMED_BY.get(field.name, ()))
        if field.name in _NAMED_BY:
            yield path, _Leaf(keys, [])
        for key, each in zip(keys, value, strict=True):
            yield from _leaves(each, f"{path}[{key}].")
    else:
        yield path, _Leaf(_json(value), None if field.default is msgspec.NODEFAULT else _json(field.default))


def _keys(items: tuple[Any, ...], named_by: tuple[str, ...]) -> list[str]:
    """What tells the items of a list apart: their names if they have ones, else their places."""
    named = ["/".join(filter(None, (str(getattr(each, part)) for part in named_by))) for each in items]
    return named if named_by and len(set(named)) == len(named) else [str(index) for index in range(len(items))]


def _json(value: object) -> Any:  # noqa: ANN401  what JSON holds
    return msgspec.json.decode(msgspec.json.encode(value))
