"""Features that lean on other features: in which order they compile, and which arrangements are refused.

Prerequisites can only be lost by a kill, a disabling or a smaller share of the other feature, so growing one share
never takes the candidate of another feature away from anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.errors import InvalidDocument, nearest_names
from rollout.core.model import Arm, Needs, UnitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rollout.core.model import CompiledFeature, FeatureFlag, Prerequisite, Subject

DECISIONS_MAX = 32
"""Decisions that one request may need, its own feature's counted."""

_FINEST_FIRST = (UnitKind.REQUEST, UnitKind.CONVERSATION, UnitKind.USER, UnitKind.TENANT)
_FIX = "change the prerequisites; what is in force stays until then"


def compile_order(flags: Mapping[str, FeatureFlag]) -> tuple[str, ...]:
    """Give the features, each after its prerequisites; left out are circles, what leans on one, and too long chains."""
    decisions: dict[str, int] = {}
    waiting = list(flags)
    while waiting:
        later = [feature for feature in waiting if not _settle(flags, flags[feature], decisions)]
        if len(later) == len(waiting):
            break
        waiting = later
    return tuple(decisions)


def check_prerequisites(flags: Mapping[str, FeatureFlag]) -> None:
    """Refuse, as InvalidDocument, flags of one document whose prerequisites don't fit together."""
    for flag in flags.values():
        for each in flag.prerequisites:
            _check(flag, each, flags)
    stuck = set(flags) - set(compile_order(flags))
    if stuck:
        raise InvalidDocument(_reason(flags, stuck), _FIX)


def compile_prerequisites(
    flag: FeatureFlag, compiled: Mapping[str, CompiledFeature]
) -> tuple[Callable[[Subject], bool], ...]:
    """Make a function for each prerequisite; `compiled` holds those that exist. What never changes comes first."""
    wanted = sorted(flag.prerequisites, key=lambda each: each.needs is Needs.CANDIDATE)
    return tuple(_compile(each, compiled.get(each.feature)) for each in wanted)


def unmet(flag: FeatureFlag, compiled: Mapping[str, CompiledFeature], subject: Subject) -> tuple[str, ...]:
    """Name the prerequisites that a subject does not meet, with what they want, for people."""
    return tuple(
        f"{each.feature!r} {each.needs}"
        for each in flag.prerequisites
        if not _compile(each, compiled.get(each.feature))(subject)
    )


def _compile(wanted: Prerequisite, other: CompiledFeature | None) -> Callable[[Subject], bool]:
    if other is None or not other.flag.in_operation:
        return lambda _subject: False
    if wanted.needs is Needs.ENABLED:
        return lambda _subject: True
    decide, candidate = other.decide, Arm.CANDIDATE
    return lambda subject: decide(subject).arm is candidate


def _settle(flags: Mapping[str, FeatureFlag], flag: FeatureFlag, decisions: dict[str, int]) -> bool:
    needed = 1
    for each in flag.prerequisites:
        if each.feature not in flags:
            continue
        if each.feature not in decisions:
            return False
        needed += decisions[each.feature] if each.needs is Needs.CANDIDATE else 0
    if needed > DECISIONS_MAX:
        return False
    decisions[flag.feature] = needed
    return True


def _check(flag: FeatureFlag, wanted: Prerequisite, flags: Mapping[str, FeatureFlag]) -> None:
    other = flags.get(wanted.feature)
    if other is None:
        nearest = nearest_names(wanted.feature, flags)
        meant = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise InvalidDocument(f"{flag.feature!r} needs {wanted.feature!r}, which is not there{meant}", _FIX)
    if wanted.needs is Needs.CANDIDATE and _FINEST_FIRST.index(other.bucket_by) < _FINEST_FIRST.index(flag.bucket_by):
        cause = (
            f"{flag.feature!r} is drawn by {flag.bucket_by} but needs the candidate of {other.feature!r}, "
            f"which is drawn by {other.bucket_by}: one {flag.bucket_by} would get both arms"
        )
        raise InvalidDocument(cause, _FIX)


def _reason(flags: Mapping[str, FeatureFlag], stuck: set[str]) -> str:
    path = [min(stuck)]
    while True:
        following = [each.feature for each in flags[path[-1]].prerequisites if each.feature in stuck]
        if not following:
            return f"{path[-1]!r} needs more than {DECISIONS_MAX} decisions with all its prerequisites"
        if following[0] in path:
            circle = path[path.index(following[0]) :]
            return f"prerequisites go round in a circle: {' needs '.join([*circle, circle[0]])}"
        path.append(following[0])
