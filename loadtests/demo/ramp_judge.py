"""Judges the demo's two ramps by the audit log, by what callers saw and by what `status` told a build (pure)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from loadtests.demo.course import CONTROLLER, Entry, GateSaid, of_this_run, stages_of
from loadtests.demo.judge import Verdict
from loadtests.demo.plan import BREAKING, BREAKING_RAMP, BROKEN_AT_STEP, MOVING, RAMP, percent, stage_names
from loadtests.demo.ramps import ERRORS_GATE
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample
from loadtests.demo.status import COMPLETED, ROLLED_BACK, StatusAnswer

REQUESTS_AFTER_MIN: Final = 5
_MOVES: Final = ("advance", "monitor", "complete")
_PATH: Final = ("DRAFT", "READY", "RUNNING", "PAUSED", "RUNNING", "MONITORING", "COMPLETED")
_ALL: Final = 100_000


class BreachEvidence(NamedTuple):
    """What is left of the breaking feature's ramp. `broken_at_s`: Unix time, None if it never came to that."""

    entries: Sequence[Entry]
    broken_at_s: float | None
    samples: Sequence[Sample]
    status: StatusAnswer | None


class RampEvidence(NamedTuple):
    """What is left of both ramps: the moving feature's audit entries, oldest first; no breach without gates."""

    entries: Sequence[Entry]
    status: StatusAnswer | None
    breach: BreachEvidence | None


def judge_ramps(evidence: RampEvidence) -> tuple[Verdict, ...]:
    """Return the verdict of every check on the ramps."""
    entries, breach = evidence.entries, evidence.breach
    own = (
        ramp_completed(entries),
        lifted_kill_paused(entries),
        *((gates_passed(entries),) if breach is not None else ()),
        status_told(MOVING, evidence.status, COMPLETED),
    )
    if breach is None:
        return own
    return (
        *own,
        breach_was_hidden(breach),
        breach_rolled_back(breach),
        breach_went_no_further(breach),
        nobody_after(breach),
        status_told(BREAKING, breach.status, ROLLED_BACK),
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


def gates_passed(entries: Sequence[Entry]) -> Verdict:
    """Check that the errors gate had passed, with a value, whenever the controller moved the share on."""
    check = "the gate passes before each step"
    moves = [entry for entry in of_this_run(entries) if entry.command in _MOVES and entry.actor == CONTROLLER]
    said = [_said(entry) for entry in moves]
    values = [each.value for each in said if each is not None and each.result == "PASS" and each.value is not None]
    limits = [each.limit for each in said if each is not None and each.limit is not None]
    found = f"{ERRORS_GATE} passed {len(values)} of {len(moves)} times"
    if values and limits:
        found += f", at most {max(values):.3g}, limit {limits[0]:g}"
    return Verdict(check, bool(moves) and len(values) == len(moves), found)


def status_told(feature: str, answer: StatusAnswer | None, wanted: int) -> Verdict:
    """Check the exit code of `glidepath rollout status`."""
    check = f"status {feature} exits with {wanted}"
    if answer is None:
        return Verdict(check, ok=False, found="the ramp did not come to its end")
    found = f"exit code {answer.exit_code} after {answer.lasted_s:.1f} s: {answer.said}"
    return Verdict(check, answer.exit_code == wanted, found)


def breach_was_hidden(breach: BreachEvidence) -> Verdict:
    """Check that callers of the breaking feature saw no failure, though its candidate did fail."""
    check = "breach: no caller sees a failure"
    failed = sum(sample.problem is not None for sample in breach.samples)
    helped = sum((sample.assigned, sample.served) == (CANDIDATE, BASELINE) for sample in breach.samples)
    found = (
        f"{helped} requests of the broken candidate answered by the partner, {failed} of {len(breach.samples)} failed"
    )
    return Verdict(check, bool(helped) and not failed, found)


def breach_rolled_back(breach: BreachEvidence) -> Verdict:
    """Check that the controller took the share back, for a verdict that the audit log holds."""
    check = "breach: the controller rolls back"
    back = _rollback(breach.entries)
    if back is None or breach.broken_at_s is None:
        return Verdict(check, ok=False, found="it did not" if breach.broken_at_s else "the candidate was never broken")
    said = _said(back)
    took_s = back.at_s - breach.broken_at_s
    held = said is not None and said.result == "FAIL" and _is_over(said)
    ok = held and back.actor == CONTROLLER and back.share_millipct == 0 and took_s > 0
    verdict = "no verdict" if said is None else str(said)
    return Verdict(check, ok, f"share {percent(back.share_millipct)} {took_s:.1f} s after the breach: {verdict}")


def breach_went_no_further(breach: BreachEvidence) -> Verdict:
    """Check that the share was never above that of the step in which the candidate broke."""
    check = "breach: no step beyond it"
    limit = BREAKING_RAMP[BROKEN_AT_STEP].share_millipct
    shares = [entry.share_millipct for entry in of_this_run(breach.entries)]
    found = " > ".join(map(percent, shares)) or "the ramp was never started"
    return Verdict(check, max(shares, default=0) == limit, found)


def nobody_after(breach: BreachEvidence) -> Verdict:
    """Check that after the rollback nobody was given the candidate."""
    check = "breach: nobody has the candidate after it"
    back = _rollback(breach.entries)
    if back is None:
        return Verdict(check, ok=False, found="it was not rolled back")
    after = [sample for sample in breach.samples if sample.revision is not None and sample.revision >= back.revision]
    if len(after) < REQUESTS_AFTER_MIN:
        return Verdict(check, ok=False, found=f"only {len(after)} requests after it, too few to judge")
    wrong = sum(CANDIDATE in (sample.assigned, sample.served) for sample in after)
    return Verdict(check, not wrong, f"{wrong} of {len(after)} requests decided after it")


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


def _rollback(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in of_this_run(entries) if entry.command == "roll_back"), None)


def _said(entry: Entry) -> GateSaid | None:
    return next((each for each in entry.said if each.gate == ERRORS_GATE), None)


def _is_over(said: GateSaid) -> bool:
    return said.value is not None and said.limit is not None and said.value > said.limit
