from loadtests.demo.course import CONTROLLER, Entry, GateSaid
from loadtests.demo.plan import ERRORS, HARMS, MOVING, QUALITY, Harm
from loadtests.demo.ramp_judge import Began, RampEvidence, SetbackEvidence
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample
from loadtests.demo.summary import Exposure, ProofLine, RampLine, lines_of, proofs_of

PROVEN = (GateSaid(QUALITY, "PASS", 25.0, 20.0), GateSaid(ERRORS, "PASS", 30.0, 20.0))
HARM: Harm = HARMS[1]
FAILED = GateSaid(HARM.gate, "FAIL", 70.0, 60.0)


def entry(revision: int, command: str, share: int, phase: str, *said: GateSaid) -> Entry:
    return Entry(100.0 + 10 * revision, CONTROLLER, command, "r", revision, share, False, phase, said)


RUN = (
    entry(1, "create", 0, "READY"),
    entry(2, "start", 1_000, "RUNNING"),
    entry(3, "advance", 50_000, "RUNNING", *PROVEN),
    entry(4, "advance", 100_000, "RUNNING", PROVEN[0]),
    entry(5, "complete", 100_000, "COMPLETED"),
)
BACK = (entry(2, "start", 50_000, "RUNNING"), entry(3, "roll_back", 0, "ROLLED_BACK", FAILED))


def sample(revision: int | None, assigned: str, started_s: float = 0.0) -> Sample:
    return Sample(MOVING, "c", panel=False, started_s=started_s, assigned=assigned, revision=revision)


SAMPLES = [
    sample(1, BASELINE),
    sample(2, CANDIDATE, 5.0),
    sample(3, CANDIDATE, 7.0),
    sample(3, BASELINE),
    sample(None, ""),
]


def evidence(*setbacks: SetbackEvidence, run: tuple[Entry, ...] = RUN) -> RampEvidence:
    return RampEvidence(run, SAMPLES, None, gated=True, setbacks=setbacks)


def test_a_completed_ramp_is_told_with_its_last_proof() -> None:
    (line,) = lines_of(evidence())
    assert line == RampLine(MOVING, "good checkpoint", "promoted to 100 %", 30.0, Exposure(None, 2, 3), PROVEN[0])


def test_a_ramp_that_was_not_completed_is_told_as_it_is() -> None:
    (stopped,) = lines_of(evidence(run=RUN[:3]))
    assert (stopped.outcome, stopped.lasted_s) == ("RUNNING", None)
    (never,) = lines_of(evidence(run=()))
    assert (never.outcome, never.decided) == ("never started", None)


def test_a_rollback_is_told_with_those_who_were_exposed_to_the_harm() -> None:
    setback = SetbackEvidence(HARM, BACK, Began(124.0, 6.0), SAMPLES, None)
    line = lines_of(evidence(setback))[1]
    assert line == RampLine(HARM.feature, HARM.what, "rolled back", 6.0, Exposure(1, 2, 3), FAILED)


def test_a_harm_that_was_not_found_is_told() -> None:
    setback = SetbackEvidence(HARM, BACK[:1], Began(124.0, 6.0), SAMPLES, None)
    line = lines_of(evidence(setback))[1]
    assert (line.outcome, line.lasted_s, line.decided) == ("RUNNING", None, None)
    never = lines_of(evidence(setback._replace(entries=(), began=None)))[1]
    assert (never.outcome, never.exposure.harmed) == ("never started", None)


def test_each_step_up_has_its_time_and_proofs() -> None:
    assert proofs_of(RUN) == (ProofLine(50_000, 10.0, PROVEN), ProofLine(100_000, 10.0, (PROVEN[0], None)))
    assert proofs_of(()) == ()
