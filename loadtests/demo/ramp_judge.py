"""Judges the demo's ramps by the audit log, by what callers saw and by what `status` told a build (pure)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from loadtests.demo.course import CONTROLLER, Entry, GateSaid, of_this_run, rollback_of, stages_of
from loadtests.demo.judge import Verdict
from loadtests.demo.plan import BREAKING, MOVING, PROOFS, RAMP, Harm, last_share_millipct, percent, stage_names
from loadtests.demo.ramps import FLOOR_GATE
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample
from loadtests.demo.status import COMPLETED, ROLLED_BACK, StatusAnswer

REQUESTS_AFTER_MIN: Final = 5
_MOVES: Final = ("advance", "monitor", "complete")
_PATH: Final = ("DRAFT", "READY", "RUNNING", "PAUSED", "RUNNING", "MONITORING", "COMPLETED")
_ALL: Final = 100_000
_TOGETHER: Final = "together with "


class Began(NamedTuple):
    """When a harm began: Unix time as in the audit log, and the callers' clock."""

    at_s: float
    clock_s: float


class SetbackEvidence(NamedTuple):
    """What is left of a harmful ramp: audit entries, oldest first; `began` is None if it never came to that."""

    harm: Harm
    entries: Sequence[Entry]
    began: Began | None
    samples: Sequence[Sample]
    status: StatusAnswer | None


class RampEvidence(NamedTuple):
    """What is left of all ramps: of the moving feature's its audit entries, oldest first. `gated`: by PromQL too."""

    entries: Sequence[Entry]
    samples: Sequence[Sample]
    status: StatusAnswer | None
    gated: bool
    setbacks: Sequence[SetbackEvidence]


def judge_ramps(evidence: RampEvidence) -> tuple[Verdict, ...]:
    """Return the verdict of every check on the ramps."""
    entries = evidence.entries
    return (
        ramp_completed(entries),
        lifted_kill_paused(entries),
        evidence_decided(entries),
        *((floor_passed(entries),) if evidence.gated else ()),
        status_told(MOVING, evidence.status, COMPLETED),
        *(verdict for setback in evidence.setbacks for verdict in judge_setback(setback)),
    )


def judge_setback(setback: SetbackEvidence) -> tuple[Verdict, ...]:
    """Return the verdict of every check on one harmful ramp."""
    feature = setback.harm.feature
    return (
        *((failures_were_hidden(setback),) if feature == BREAKING else ()),
        rolled_back(setback),
        went_no_further(setback),
        nobody_after(setback),
        *((status_told(feature, setback.status, ROLLED_BACK),) if setback.harm.injected else ()),
    )


def ramp_completed(entries: Sequence[Entry]) -> Verdict:
    """Check that the ramp went through all its phases and stages, every step of it by the controller."""
    check = f"ramp of {MOVING} runs to its end"
    phases = _phases(entries)
    shown = " > ".join(phases) or "no ramp was started"
    if phases != _PATH:
        last = entries[-1].reason if entries else ""
        return Verdict(check, ok=False, found=f"{shown}; last: {last}" if last else shown)
    run = of_this_run(entries)
    stages = tuple(stage.name for stage in stages_of(entries))
    by_hand = [entry.command for entry in run if entry.command in _MOVES and entry.actor != CONTROLLER]
    steps = sum(entry.command == "advance" for entry in run)
    lasted_s = run[-1].at_s - run[0].at_s
    ok = stages == stage_names() and not by_hand and steps == len(RAMP) - 1 and run[-1].share_millipct == _ALL
    who = f"{', '.join(by_hand)} by hand" if by_hand else f"{steps} steps by the controller"
    return Verdict(check, ok, f"{shown}; {who}, {lasted_s:.0f} s")


def lifted_kill_paused(entries: Sequence[Entry]) -> Verdict:
    """Check that the ramp was paused by the kill, stayed so when that was lifted, and that a person resumed it."""
    check = "a lifted kill leaves the ramp paused"
    for lifted, following in pairwise(of_this_run(entries)):
        if lifted.command == "unkill":
            stood_s = following.at_s - lifted.at_s
            ok = lifted.phase == "PAUSED" and following.command == "resume" and following.actor != CONTROLLER
            found = f"{lifted.phase} at {percent(lifted.share_millipct)} for {stood_s:.1f} s, then {following.command}"
            return Verdict(check, ok, f"{found} by {following.actor}")
    return Verdict(check, ok=False, found="no kill was lifted")


def evidence_decided(entries: Sequence[Entry]) -> Verdict:
    """Check that each step was left for proof that the candidate is no worse: e-values at or above their limits."""
    steps = steps_of(entries)
    shown = [(said.value, said.limit) for step in steps if (said := said_by(step, PROOFS[0])) is not None]
    proven = sum(all(is_proven(said_by(step, gate)) for gate in PROOFS) for step in steps)
    values = ", ".join(f"{value:.3g}" for value, _ in shown if value is not None)
    limit = next((limit for _, limit in shown if limit is not None), None)
    found = f"{' and '.join(PROOFS)} proven before {proven} of {len(RAMP) - 1} steps"
    if values and limit is not None:
        found += f"; e-values of {PROOFS[0]}: {values}, limit {limit:g}"
    return Verdict("evidence decides each step", proven == len(steps) == len(RAMP) - 1, found)


def floor_passed(entries: Sequence[Entry]) -> Verdict:
    """Check that the PromQL floor had passed, with a value, whenever the controller moved the share on."""
    moves = [entry for entry in of_this_run(entries) if entry.command in _MOVES and entry.actor == CONTROLLER]
    said = [said_by(entry, FLOOR_GATE) for entry in moves]
    values = [each.value for each in said if each is not None and each.result == "PASS" and each.value is not None]
    limits = [each.limit for each in said if each is not None and each.limit is not None]
    found = f"{FLOOR_GATE} passed {len(values)} of {len(moves)} times"
    if values and limits:
        found += f", at most {max(values):.3g}, limit {limits[0]:g}"
    return Verdict("the PromQL floor holds at each step", bool(moves) and len(values) == len(moves), found)


def status_told(feature: str, answer: StatusAnswer | None, wanted: int) -> Verdict:
    """Check the exit code of `glidepath rollout status`."""
    check = f"status {feature} exits with {wanted}"
    if answer is None:
        return Verdict(check, ok=False, found="the ramp did not come to its end")
    found = f"exit code {answer.exit_code} after {answer.lasted_s:.1f} s: {answer.said}"
    return Verdict(check, answer.exit_code == wanted, found)


def failures_were_hidden(setback: SetbackEvidence) -> Verdict:
    """Check that callers of the breaking feature saw no failure, though its candidate did fail."""
    check = f"{setback.harm.feature}: no caller sees a failure"
    failed = sum(sample.problem is not None for sample in setback.samples)
    helped = sum((sample.assigned, sample.served) == (CANDIDATE, BASELINE) for sample in setback.samples)
    found = f"{helped} failed requests answered by the partner, {failed} of {len(setback.samples)} failed for callers"
    return Verdict(check, bool(helped) and not failed, found)


def rolled_back(setback: SetbackEvidence) -> Verdict:
    """Check that the controller took the share back, for an e-value of harm that the audit log holds."""
    harm, began = setback.harm, setback.began
    check = f"{harm.feature}: {harm.what} is rolled back"
    back = rollback_of(setback.entries)
    if back is None or began is None:
        return Verdict(check, ok=False, found="it was not" if began else "the candidate was never harmed")
    said = said_by(back, harm.gate)
    took_s = back.at_s - began.at_s
    ok = is_harm(said) and back.actor == CONTROLLER and back.share_millipct == 0 and took_s > 0
    verdict = f"{harm.gate} said nothing: {back.reason}" if said is None else str(said)
    return Verdict(check, ok, f"share {percent(back.share_millipct)} after {took_s:.1f} s: {verdict}")


def went_no_further(setback: SetbackEvidence) -> Verdict:
    """Check that the share was never above that of the step in which there was harm."""
    limit = last_share_millipct(setback.harm)
    shares = [entry.share_millipct for entry in of_this_run(setback.entries)]
    found = " > ".join(map(percent, shares)) or "the ramp was never started"
    return Verdict(f"{setback.harm.feature}: no step beyond it", max(shares, default=0) == limit, found)


def nobody_after(setback: SetbackEvidence) -> Verdict:
    """Check that after the rollback nobody was given the candidate."""
    check = f"{setback.harm.feature}: nobody has the candidate after it"
    if rollback_of(setback.entries) is None:
        return Verdict(check, ok=False, found="it was not rolled back")
    after = after_rollback(setback)
    if len(after) < REQUESTS_AFTER_MIN:
        return Verdict(check, ok=False, found=f"only {len(after)} requests after it, too few to judge")
    wrong = sum(CANDIDATE in (sample.assigned, sample.served) for sample in after)
    return Verdict(check, not wrong, f"{wrong} of {len(after)} requests decided after it")


def after_rollback(setback: SetbackEvidence) -> Sequence[Sample]:
    """Return the requests that were decided after the rollback."""
    back = rollback_of(setback.entries)
    if back is None:
        return ()
    return [sample for sample in setback.samples if sample.revision is not None and sample.revision >= back.revision]


def steps_of(entries: Sequence[Entry]) -> list[Entry]:
    """Return the controller's steps up, oldest first."""
    return [entry for entry in of_this_run(entries) if entry.command == "advance" and entry.actor == CONTROLLER]


def said_by(entry: Entry, gate: str) -> GateSaid | None:
    """Return what a gate had said when the entry's change was decided."""
    return next((said for said in entry.said if said.gate == gate), None)


def is_proven(said: GateSaid | None) -> bool:
    """Whether a gate of evidence passed by an e-value at or above its limit."""
    if said is None or said.value is None or said.limit is None:
        return False
    return said.estimate is not None and said.result == "PASS" and said.value >= said.limit


def is_harm(said: GateSaid | None) -> bool:
    """Whether a gate of evidence failed: by its e-value, or as the one that has most part in the average of all."""
    if said is None or said.value is None or said.limit is None:
        return False
    reached = said.value >= said.limit or said.reason.startswith(_TOGETHER)
    return said.estimate is not None and said.result == "FAIL" and reached


def _phases(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the phases since the ramp was created, each once as long as it lasted."""
    created = [number for number, entry in enumerate(entries) if entry.command == "create" and entry.phase == "READY"]
    if not created:
        return ()
    phases = ["DRAFT"]
    for entry in entries[created[-1] :]:
        if entry.phase is not None and entry.phase != phases[-1]:
            phases.append(entry.phase)
    return tuple(phases)
