"""Flags -> Snapshot, and the decision for one request: pure, a microsecond or a few, never raises.

Order, first match wins: unknown feature, DISABLED, KILLED, not eligible, prerequisites, no unit, holdout, split.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rollout.core.bucketing import bucketer
from rollout.core.eligibility import attributes_read, compile_eligibility, why_not
from rollout.core.evidence.names import gathers
from rollout.core.model import (
    BUCKETS,
    EMPTY_SNAPSHOT,
    NOT_LOADED,
    Arm,
    CompiledFeature,
    Decision,
    Eligibility,
    FeatureFlag,
    Reason,
    Snapshot,
    State,
    Subject,
    UnitKind,
)
from rollout.core.prerequisites import compile_order, compile_prerequisites, unmet
from rollout.core.unit_digest import digester

_FALLBACK = {
    # Not the tenant: all anonymous calls of one key in one bucket would make a share all or nothing for that key.
    UnitKind.CONVERSATION: (UnitKind.USER, UnitKind.REQUEST),
    UnitKind.USER: (UnitKind.TENANT,),
    UnitKind.TENANT: (),
    UnitKind.REQUEST: (),
}


def compile_snapshot(flags: Mapping[str, FeatureFlag], version: int, before: Snapshot = EMPTY_SNAPSHOT) -> Snapshot:
    """Compile all flags (keyed by feature) into one snapshot of that store version.

    What is as in the snapshot `before` is taken from it: with many rules compiling holds up requests. Flags whose
    prerequisites go round in a circle give everybody the baseline, with Reason.ERROR.
    """
    compiled: dict[str, CompiledFeature] = {}
    for feature in compile_order(flags):
        flag, known = flags[feature], before.features.get(feature)
        if known is None or known.flag != flag or not _leans_on_the_same(flag, compiled, before.features):
            known = _compile(flag, compiled)
        compiled[feature] = known
    faulty = {feature: _compile_faulty(flag) for feature, flag in flags.items() if feature not in compiled}
    return Snapshot(version, compiled | faulty)


def _leans_on_the_same(
    flag: FeatureFlag, now: Mapping[str, CompiledFeature], before: Mapping[str, CompiledFeature]
) -> bool:
    return all(now.get(each.feature) is before.get(each.feature) for each in flag.prerequisites)


def decide(snapshot: Snapshot, feature: str, subject: Subject) -> Decision:
    """Decide the arm; any fault gives the baseline with Reason.ERROR, never an exception."""
    try:
        compiled = snapshot.features.get(feature)
        if compiled is None:
            return _absent(snapshot, feature)
    except Exception:  # noqa: BLE001  a decision must never fail a request
        return _baseline(str(type(feature)), "", Reason.ERROR)
    try:
        return compiled.decide(subject)
    except Exception:  # noqa: BLE001  see above
        return compiled.fault


def in_shadow(snapshot: Snapshot, decision: Decision, subject: Subject) -> bool:
    """Tell whether a decided request is in its feature's shadow sample, whichever arm it has; never raises.

    Whoever may not get the candidate (not eligible, killed, no unit, ...) is in none; the held-out may be, since nobody
    sees a shadow's answer.
    """
    if decision.unit_kind is None:
        return False
    compiled = snapshot.features.get(decision.feature)
    if compiled is None or compiled.is_shadowed is None:
        return False
    try:
        return compiled.is_shadowed(getattr(subject, decision.unit_kind))
    except Exception:  # noqa: BLE001  a shadow must never fail a request
        return False


def _absent(snapshot: Snapshot, feature: str) -> Decision:
    reason = Reason.NO_SNAPSHOT if snapshot.version == NOT_LOADED else Reason.UNKNOWN_FEATURE
    return _baseline(feature, "", reason)


def _baseline(feature: str, upstream: str, reason: Reason) -> Decision:
    return Decision(feature, Arm.BASELINE, upstream, reason, -1, None, 0, 0)


def _compile(flag: FeatureFlag, compiled: Mapping[str, CompiledFeature]) -> CompiledFeature:
    fault = _fixed(flag, Reason.ERROR)
    if flag.state is State.DISABLED:
        return CompiledFeature(flag, _always(_fixed(flag, Reason.DISABLED)), fault)
    if flag.kill.on:
        return CompiledFeature(flag, _always(_fixed(flag, Reason.KILLED)), fault)
    admits, prerequisites = compile_eligibility(flag), compile_prerequisites(flag, compiled)
    decide_split = (_gatherer if gathers(flag) else _splitter)(flag, _fixed(flag, Reason.NO_UNIT))
    if admits is not None or prerequisites:
        decide_split = _guarded(flag, admits, prerequisites, decide_split)
    return CompiledFeature(flag, decide_split, fault, _shadow_sample(flag), _reads_attributes(flag, compiled))


def _reads_attributes(flag: FeatureFlag, compiled: Mapping[str, CompiledFeature]) -> bool:
    others = (compiled.get(each.feature) for each in flag.prerequisites)
    return bool(attributes_read(flag)) or any(other is not None and other.reads_attributes for other in others)


def _compile_faulty(flag: FeatureFlag) -> CompiledFeature:
    """Compile a flag that must not be asked for anything, but may still be switched off visibly."""
    off = _compile(flag, {})
    return off if not flag.in_operation else CompiledFeature(flag, _always(off.fault), off.fault)


def _fixed(flag: FeatureFlag, reason: Reason) -> Decision:
    share, version = flag.share_millipct, flag.hash_version
    return Decision(flag.feature, Arm.BASELINE, flag.baseline, reason, -1, None, flag.revision, share, version)


def _shadow_sample(flag: FeatureFlag) -> Callable[[str], bool] | None:
    size = flag.shadow.millipct
    if not size:
        return None
    draw = bucketer(flag.hash_version, flag.shadow_salt)
    return lambda unit: draw(unit) < size


def _guarded(
    flag: FeatureFlag,
    admits: Callable[[Subject], bool] | None,
    prerequisites: tuple[Callable[[Subject], bool], ...],
    decide_split: Callable[[Subject], Decision],
) -> Callable[[Subject], Decision]:
    """Ask eligibility and prerequisites first; only flags that have any pay for it."""
    ineligible, unmet = _fixed(flag, Reason.INELIGIBLE), _fixed(flag, Reason.PREREQUISITE)
    if admits is not None and not prerequisites:
        return lambda subject: decide_split(subject) if admits(subject) else ineligible

    def decide_guarded(subject: Subject) -> Decision:
        if admits is not None and not admits(subject):
            return ineligible
        for is_met in prerequisites:
            if not is_met(subject):
                return unmet
        return decide_split(subject)

    return decide_guarded


def _always(decision: Decision) -> Callable[[Subject], Decision]:
    def constant(_subject: Subject) -> Decision:
        return decision

    return constant


def _splitter(flag: FeatureFlag, no_unit: Decision) -> Callable[[Subject], Decision]:
    """Close over everything a split needs, so that one decision is a hash, two comparisons and one object."""
    chain = unit_chain(flag.bucket_by)
    draw = bucketer(flag.hash_version, flag.split_salt)
    draw_holdout = bucketer(flag.hash_version, flag.holdout_salt) if flag.holdout.millipct else draw
    feature, candidate, baseline = flag.feature, flag.candidate, flag.baseline
    revision, share, held = flag.revision, flag.share_millipct, flag.holdout.millipct
    version = flag.hash_version
    treated, control, split, holdout = Arm.CANDIDATE, Arm.BASELINE, Reason.SPLIT, Reason.HOLDOUT

    def decide_split(subject: Subject) -> Decision:
        for position, kind in chain:
            unit: Any = subject[position]
            if unit:
                bucket = draw(unit)
                if held and draw_holdout(unit) < held:
                    return Decision(feature, control, baseline, holdout, bucket, kind, revision, share, version)
                if bucket < share:
                    return Decision(feature, treated, candidate, split, bucket, kind, revision, share, version)
                return Decision(feature, control, baseline, split, bucket, kind, revision, share, version)
        return no_unit

    return decide_split


def _gatherer(flag: FeatureFlag, no_unit: Decision) -> Callable[[Subject], Decision]:
    """A split whose units evidence knows by digests: apart from `_splitter`, so that no other split pays for it."""
    decide_split, digest = _splitter(flag, no_unit), digester(flag.split_salt)
    split = Reason.SPLIT

    def decide_known(subject: Subject) -> Decision:
        made = decide_split(subject)
        if made.reason is not split or made.unit_kind is None:
            return made
        known = digest(made.unit_kind, getattr(subject, made.unit_kind))
        return Decision(
            made.feature, made.arm, made.upstream, split, made.bucket, made.unit_kind,
            made.revision, made.share_millipct, made.hash_version, known,
        )  # fmt: skip

    return decide_known


def unit_chain(bucket_by: UnitKind) -> tuple[tuple[int, UnitKind], ...]:
    """Positions in Subject to try, in order, starting at the flag's unit."""
    position = {kind: index for index, kind in enumerate(UnitKind)}
    return tuple((position[kind], kind) for kind in (bucket_by, *_FALLBACK[bucket_by]))


class Step(NamedTuple):
    """One line of an explanation: what was checked, what was found, whether it settled the decision."""

    check: str
    found: str
    settled: bool


class Explanation(NamedTuple):
    """A decision with the steps that led to it, for people."""

    decision: Decision
    steps: tuple[Step, ...]


def explain(snapshot: Snapshot, feature: str, subject: Subject) -> Explanation:
    """Give the same decision as `decide` with the steps up to the one that settled it."""
    decision = decide(snapshot, feature, subject)
    compiled = snapshot.features.get(feature)
    if compiled is None:
        known = ", ".join(sorted(snapshot.features)) or "none"
        return Explanation(decision, (Step("feature", f"{feature!r} is not in the snapshot (known: {known})", True),))
    steps = _steps(snapshot, compiled.flag, decision, subject)
    last = next((index for index, step in enumerate(steps) if step.settled), len(steps) - 1)
    return Explanation(decision, steps[: last + 1])


def _steps(snapshot: Snapshot, flag: FeatureFlag, decision: Decision, subject: Subject) -> tuple[Step, ...]:
    reason, kill, held = decision.reason, flag.kill, flag.holdout.millipct
    unit = None if decision.unit_kind is None else getattr(subject, decision.unit_kind)
    wanted = f"bucketBy {flag.bucket_by}: "
    found = "no unit, so the baseline" if unit is None else f"{decision.unit_kind} {unit!r}"
    passed = "" if decision.unit_kind in {None, flag.bucket_by} else f" ({flag.bucket_by} is absent)"
    killed = f"on, by {kill.actor}: {kill.reason}" if kill.on else "off"
    return (
        Step("feature", f"{flag.feature!r} at revision {flag.revision}", False),
        Step("state", flag.state.value, reason is Reason.DISABLED),
        Step("kill", killed, reason is Reason.KILLED),
        Step("fault", "deciding failed, so the baseline" if reason is Reason.ERROR else "none", reason is Reason.ERROR),
        Step("eligibility", _eligibility_text(flag, reason, subject), reason is Reason.INELIGIBLE),
        Step("prerequisites", _prerequisites_text(snapshot, flag, reason, subject), reason is Reason.PREREQUISITE),
        Step("unit", wanted + found + passed, reason is Reason.NO_UNIT),
        Step("holdout", _holdout_text(flag, unit, held), reason is Reason.HOLDOUT),
        Step("split", _split_text(flag, decision), True),
    )


def _eligibility_text(flag: FeatureFlag, reason: Reason, subject: Subject) -> str:
    if reason is Reason.INELIGIBLE:
        return why_not(flag, subject)
    return "everybody" if flag.eligibility == Eligibility() else "eligible"


def _prerequisites_text(snapshot: Snapshot, flag: FeatureFlag, reason: Reason, subject: Subject) -> str:
    if reason is Reason.PREREQUISITE:
        return f"not met: {', '.join(unmet(flag, snapshot.features, subject))}"
    return ", ".join(f"{each.feature!r} {each.needs}" for each in flag.prerequisites) or "none"


def _holdout_text(flag: FeatureFlag, unit: str | None, held: int) -> str:
    if unit is None or not held:
        return "none"
    drawn = bucketer(flag.hash_version, flag.holdout_salt)(unit)
    return f"bucket {drawn} of {BUCKETS} with salt {flag.holdout_salt!r}, held out below {held}"


def _split_text(flag: FeatureFlag, decision: Decision) -> str:
    rule = f"candidate below {flag.share_millipct}: {decision.arm}, upstream {decision.upstream!r}"
    return f"bucket {decision.bucket} of {BUCKETS} with salt {flag.split_salt!r}, {rule}"
