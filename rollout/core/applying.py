"""What applying a document means: for each feature a list of commands, decided before any of them is carried out.

| the flag                                        | commands                                                 |
| ----------------------------------------------- | -------------------------------------------------------- |
| is not there                                    | create                                                   |
| has this configuration                          | none; create if a ramp at rest is to begin anew          |
| ramp, gates, rollback or evidence differ        | create; refused while RUNNING or MONITORING. In a pause  |
|                                                 | another attempt, if they ask the evidence something else |
| has no ramp any more                            | end, apply; refused while RUNNING or MONITORING          |
| salt, hashVersion, bucketBy or candidate differ | end of a ramp under way; create, or without a plan apply |
| anything else differs                           | apply                                                    |

Each command is one write with an audit entry. State (`core.configuration`) is never written to a flag that exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from msgspec.structs import replace

from rollout.core import ramp_commands
from rollout.core.configuration import Change, configured, created, diff, same, unwritten_state
from rollout.core.eligibility import unknown_attributes
from rollout.core.errors import DocumentRefused, InvalidDocument, RampRefused, RevisionConflict
from rollout.core.evidence.asking import evidence_faults
from rollout.core.evidence.names import JUDGE, METRICS, is_gathered
from rollout.core.model import FeatureFlag, State
from rollout.core.prerequisites import check_prerequisites, compile_order
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import GateMemory, Phase
from rollout.core.ramp_plan import Findings, validate
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rollout.core.ramp_commands import Order

CREATE, APPLY, END = "create", "apply", "end"
"""Commands, as the audit log has them."""

_RUNS = (Phase.RUNNING, Phase.MONITORING)
_UNDER_WAY = (*_RUNS, Phase.PAUSED)
_AT_REST = (Phase.DRAFT, Phase.COMPLETED)


class Wanted(NamedTuple):
    """A feature as a document has it. `given`: its keys, and "eligibility.early_access" if that is there."""

    flag: FeatureFlag
    given: frozenset[str] = frozenset()


class Known(NamedTuple):
    """What is known of the world beside the flags; None: unknown, and then not asked about.

    `upstreams`, `attributes`, `judges`: names in the configuration. `units_per_s`: by feature, of both arms.
    """

    upstreams: frozenset[str] | None = None
    attributes: frozenset[str] | None = None
    units_per_s: Mapping[str, float] = {}
    judges: frozenset[str] | None = None


class Write(NamedTuple):
    """One command's write: the flag after it. The store raises its revision."""

    command: str
    after: FeatureFlag


class Proposal(NamedTuple):
    """What a document means for one feature. `revision`: of the stored flag, 0 if there is none."""

    feature: str
    revision: int
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    writes: tuple[Write, ...]

    @property
    def action(self) -> Literal["create", "change", "same"]:
        """In a word: create, change or same."""
        return "same" if not self.writes else "change" if self.revision else "create"


def propose(
    stored: Mapping[str, FeatureFlag], wanted: Mapping[str, Wanted], order: Order, known: Known, *, anew: bool = False
) -> tuple[Proposal, ...]:
    """Decide for all features of a document, in an order in which each may be written before the next.

    `anew`: ramps that are completed or were ended begin again, also with an unchanged plan. Raises DocumentRefused with
    all faults; RevisionConflict for a document of another revision; RampRefused where the ramp's phase forbids it.
    """
    for feature, each in wanted.items():
        _refuse_stale(stored.get(feature), each.flag)
    targets = {feature: _target(stored.get(feature), each.flag) for feature, each in wanted.items()}
    together = {**stored, **targets}
    taken = [each for each in targets.values() if _takes_plan(stored.get(each.feature), each, anew=anew)]
    faults = [f"{each.feature!r}: {fault}" for each in taken for fault in findings_of(each, known).faults]
    try:
        check_prerequisites(together)
    except InvalidDocument as fault:
        faults.append(fault.cause)
    if faults:
        raise DocumentRefused(faults)
    features = (feature for feature in compile_order(together) if feature in wanted)
    return tuple(_proposal(stored.get(each), wanted[each], targets[each], order, known, anew=anew) for each in features)


def findings_of(flag: FeatureFlag, known: Known) -> Findings:
    """Check a flag's ramp, gates and rollback; nothing to find without a ramp, except gates that hold nothing."""
    if flag.ramp is None:
        return Findings(warnings=("gates without a ramp hold nothing",) if flag.gates else ())
    rate = known.units_per_s.get(flag.feature)
    found = validate(flag.ramp, flag.gates, flag.rollback, known_metrics=METRICS, units_per_s=rate)
    return found._replace(faults=(*found.faults, *evidence_faults(flag)))


def warnings_of(flag: FeatureFlag, known: Known) -> tuple[str, ...]:
    """Say what is doubtful about a flag, whatever was in force before it."""
    return (*findings_of(flag, known).warnings, *_without_pairs(flag), *_unknown_names(flag, known))


def prerequisite_findings(flags: Mapping[str, FeatureFlag]) -> Findings:
    """Check prerequisites among some features; those that are not among them may exist all the same."""
    needed = [(feature, each.feature) for feature, flag in flags.items() for each in flag.prerequisites]
    absent = [(feature, other) for feature, other in needed if other not in flags]
    warnings = tuple(f"{feature!r} needs {other!r}, which is not among these documents" for feature, other in absent)
    try:
        check_prerequisites({name: _needing_only(flag, flags) for name, flag in flags.items()})
    except InvalidDocument as fault:
        return Findings((fault.cause,), warnings)
    return Findings(warnings=warnings)


def _needing_only(flag: FeatureFlag, flags: Mapping[str, FeatureFlag]) -> FeatureFlag:
    return replace(flag, prerequisites=tuple(each for each in flag.prerequisites if each.feature in flags))


def _target(stored: FeatureFlag | None, wanted: FeatureFlag) -> FeatureFlag:
    return created(wanted) if stored is None else configured(stored, wanted)


def _refuse_stale(stored: FeatureFlag | None, wanted: FeatureFlag) -> None:
    """Compare the revision that a document gives; of a flag that isn't there nothing could be overwritten."""
    if stored is not None and wanted.revision not in (0, stored.revision):
        raise RevisionConflict(stored.feature, wanted.revision, stored)


def _takes_plan(stored: FeatureFlag | None, target: FeatureFlag, *, anew: bool) -> bool:
    """Whether the ramp is created: a plan that is in force already, and drawn as before, isn't looked at again."""
    if target.ramp is None or stored is None:
        return target.ramp is not None
    begins_anew = anew and stored.progress.phase in _AT_REST
    return begins_anew or _plans_anew(stored, target) or _draw(stored) != _draw(target)


def _proposal(
    stored: FeatureFlag | None, wanted: Wanted, target: FeatureFlag, order: Order, known: Known, *, anew: bool
) -> Proposal:
    changes = diff(stored, target)
    warnings = warnings_of(target, known)
    if stored is None:
        writes: tuple[Write, ...] = (Write(CREATE, _with_ramp(target, order)),)
        return Proposal(target.feature, 0, changes, (*_warnings_of_new(target), *warnings), writes)
    writes = tuple(_writes(stored, target, order, anew=anew))
    warned = (*_warnings_of_state(stored, wanted), *_warnings_of_change(stored, target, changes), *warnings)
    return Proposal(stored.feature, stored.revision, changes, warned, writes)


def _writes(stored: FeatureFlag, target: FeatureFlag, order: Order, *, anew: bool) -> Iterator[Write]:
    """Give the commands that lead from one flag to the other; RampRefused where the ramp doesn't allow them."""
    redrawn = _draw(stored) != _draw(target)
    phase = stored.progress.phase
    if not redrawn and phase in _RUNS and _plans_anew(stored, target):
        what = "its baseline" if _is_compared_anew(stored, target) else "its plan, gates, evidence and rollback"
        cause = f"the ramp of {stored.feature!r} is {phase}: {what} can't change"
        raise RampRefused(cause, f"first `glidepath rollout pause {stored.feature}`, then apply, then resume")
    before = stored
    if _must_end(stored, target, redrawn=redrawn):
        before = _ended(stored, order)
        yield Write(END, before)
    changed = configured(before, target)
    if _takes_plan(stored, target, anew=anew):
        afresh = _asked(stored) != _asked(changed) or _is_compared_anew(stored, target)
        yield Write(CREATE, _with_ramp(changed, order, afresh=afresh))
    elif not same(changed, before):
        yield Write(APPLY, changed)


def _must_end(stored: FeatureFlag, target: FeatureFlag, *, redrawn: bool) -> bool:
    phase = stored.progress.phase
    if redrawn and phase in (*_UNDER_WAY, Phase.ROLLED_BACK):
        return True
    return stored.ramp is not None and target.ramp is None and phase not in _AT_REST


def _ended(flag: FeatureFlag, order: Order) -> FeatureFlag:
    try:
        made = ramp_commands.end(ramp_of(flag, GateMemory()), order)
    except RampRefused as fault:
        raise RampRefused(f"the ramp of {flag.feature!r} can't be ended: {fault.cause}", fault.hint) from fault
    return applied(flag, made)


def _with_ramp(flag: FeatureFlag, order: Order, *, afresh: bool = False) -> FeatureFlag:
    """Give the flag with its plan taken, if it has one; whether that has faults was asked before."""
    if flag.ramp is None:
        return flag
    return applied(flag, ramp_commands.create(ramp_of(flag, GateMemory()), order, Findings(), afresh=afresh))


def _plans_anew(stored: FeatureFlag, target: FeatureFlag) -> bool:
    return _plan(stored) != _plan(target) or _is_compared_anew(stored, target)


def _is_compared_anew(stored: FeatureFlag, target: FeatureFlag) -> bool:
    """Whether a ramp under way gets another baseline: what it was compared with says nothing of this one."""
    under_way = stored.progress.phase in _UNDER_WAY
    return under_way and stored.baseline != target.baseline and any(map(is_gathered, target.gates))


def _plan(flag: FeatureFlag) -> tuple[object, ...]:
    return flag.ramp, flag.gates, flag.rollback, flag.evidence


def _asked(flag: FeatureFlag) -> tuple[object, ...]:
    """What is asked of the evidence. Margins, levels and least numbers hold if they were fixed before it was seen."""
    gates = [gate for gate in flag.gates if is_gathered(gate)]
    return gates, flag.evidence if gates else None


def _draw(flag: FeatureFlag) -> tuple[object, ...]:
    """What decides who is treated with what: evidence before a change of it says nothing of what comes after."""
    return flag.split_salt, flag.hash_version, flag.bucket_by, flag.candidate


def _warnings_of_new(flag: FeatureFlag) -> Iterator[str]:
    if flag.share_millipct and flag.in_operation:
        yield f"it begins with {format_share(flag.share_millipct)} for the candidate, at once"


def _warnings_of_state(stored: FeatureFlag, wanted: Wanted) -> Iterator[str]:
    names = unwritten_state(stored, wanted.flag, wanted.given)
    if names:
        yield f"{', '.join(names)}: the document differs, but this is state and stays; commands change it"


def _warnings_of_change(stored: FeatureFlag, target: FeatureFlag, changes: Sequence[Change]) -> Iterator[str]:
    share = format_share(stored.share_millipct)
    if stored.share_millipct and stored.candidate != target.candidate:
        yield f"the new candidate gets {share} at once; set the share to 0% first if that isn't meant"
    elif stored.share_millipct and _draw(stored) != _draw(target):
        yield f"the split is drawn anew at {share}: subjects change arms"
    if stored.share_millipct and (stored.state, target.state) == (State.DISABLED, State.ENABLED):
        yield f"the share of {share} comes into force at once"
    parts = {each.path.split(".")[0].split("[")[0] for each in changes}
    swapped = _is_compared_anew(stored, target)
    afresh = swapped or _asked(stored) != _asked(target)
    if stored.progress.phase is Phase.PAUSED and _draw(stored) == _draw(target) and afresh:
        what = "another baseline is" if swapped else "other questions to the evidence are"
        yield f"{what} another attempt: nothing gathered so far counts, and alpha is less"
    mixed = sorted(parts & {"eligibility", "holdout", "prerequisites", *(() if swapped else ("baseline",))})
    if mixed and stored.progress.phase in _UNDER_WAY and _draw(stored) == _draw(target):
        yield f"a ramp is under way: what it has measured was measured with another {', '.join(mixed)}"


def _without_pairs(flag: FeatureFlag) -> Iterator[str]:
    if flag.shadow.millipct and flag.shadow.judge:
        return
    for gate in flag.gates:
        if gate.metric == JUDGE and is_gathered(gate):
            yield f"gate {gate.name!r} is about judged pairs, but `shadow` has no sample or no judge"


def _unknown_names(flag: FeatureFlag, known: Known) -> Iterator[str]:
    if known.upstreams is not None:
        for arm, upstream in (("candidate", flag.candidate), ("baseline", flag.baseline)):
            if upstream not in known.upstreams:
                yield f"{arm} {upstream!r} is no upstream of this gateway"
    if known.attributes is not None:
        for name in unknown_attributes(flag, known.attributes):
            yield f"the rule reads {name!r}, which no request carries"
    judge = flag.shadow.judge
    if known.judges is not None and judge and judge not in known.judges:
        yield f"judge {judge!r} is no judge of this gateway, so nobody compares the answers"
