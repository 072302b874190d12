"""What became of each ramp, in a line: outcome, time, exposure, and what the deciding gate knew (pure)."""

from collections.abc import Sequence
from typing import NamedTuple

from loadtests.demo.course import Entry, GateSaid, of_this_run, rollback_of
from loadtests.demo.plan import MOVING, PROOFS, QUALITY
from loadtests.demo.ramp_judge import RampEvidence, SetbackEvidence, said_by, steps_of
from loadtests.demo.sample import CANDIDATE, Sample


class Exposure(NamedTuple):
    """Requests given to a candidate: since it did harm (None where it did none), in the ramp, and of how many."""

    harmed: int | None
    candidate: int
    requests: int


class RampLine(NamedTuple):
    """One ramp. `lasted_s`: to its end, or from the begin of harm to the rollback; None if it came to neither."""

    feature: str
    what: str
    outcome: str
    lasted_s: float | None
    exposure: Exposure
    decided: GateSaid | None


class ProofLine(NamedTuple):
    """One step up: share it led to, seconds in the step before, what the proofs said."""

    share_millipct: int
    lasted_s: float
    said: tuple[GateSaid | None, ...]


def lines_of(evidence: RampEvidence) -> tuple[RampLine, ...]:
    """Return the line of each ramp, the moving feature's first."""
    return (_moving(evidence), *map(_setback, evidence.setbacks))


def proofs_of(entries: Sequence[Entry]) -> tuple[ProofLine, ...]:
    """Return the controller's steps up, with the proof that each was taken on."""
    began_s = next((entry.at_s for entry in of_this_run(entries)), 0.0)
    lines = []
    for entry in steps_of(entries):
        lines.append(
            ProofLine(entry.share_millipct, entry.at_s - began_s, tuple(said_by(entry, gate) for gate in PROOFS))
        )
        began_s = entry.at_s
    return tuple(lines)


def _moving(evidence: RampEvidence) -> RampLine:
    run, steps = of_this_run(evidence.entries), steps_of(evidence.entries)
    phase = run[-1].phase if run else None
    done = phase == "COMPLETED"
    return RampLine(
        MOVING,
        "good checkpoint",
        "promoted to 100 %" if done else f"{phase or 'never started'}",
        run[-1].at_s - run[0].at_s if done else None,
        _exposure(evidence.samples, run, None),
        said_by(steps[-1], QUALITY) if steps else None,
    )


def _setback(setback: SetbackEvidence) -> RampLine:
    run, back, began = of_this_run(setback.entries), rollback_of(setback.entries), setback.began
    phase = run[-1].phase if run else None
    return RampLine(
        setback.harm.feature,
        setback.harm.what,
        "rolled back" if back else f"{phase or 'never started'}",
        back.at_s - began.at_s if back and began else None,
        _exposure(setback.samples, run, began.clock_s if began else None),
        said_by(back, setback.harm.gate) if back else None,
    )


def _exposure(samples: Sequence[Sample], run: Sequence[Entry], harmed_clock_s: float | None) -> Exposure:
    first = run[0].revision if run else 0
    of_run = [sample for sample in samples if sample.revision is not None and sample.revision >= first]
    given = [sample for sample in of_run if sample.assigned == CANDIDATE]
    harmed = None
    if harmed_clock_s is not None:
        harmed = sum(sample.started_s >= harmed_clock_s for sample in given)
    return Exposure(harmed, len(given), len(of_run))
