"""Each check on the ramps passes on what a good run leaves and fails on the one fault it is there for."""

from collections.abc import Sequence

import pytest

from loadtests.demo.course import CONTROLLER, Entry, Estimate, GateSaid
from loadtests.demo.plan import BREAKING, ERRORS_HARM, HARMS, MOVING, PROOFS, WORSE
from loadtests.demo.ramp_judge import (
    REQUESTS_AFTER_MIN,
    Began,
    RampEvidence,
    SetbackEvidence,
    evidence_decided,
    failures_were_hidden,
    floor_passed,
    judge_ramps,
    judge_setback,
    lifted_kill_paused,
    nobody_after,
    ramp_completed,
    rolled_back,
    status_told,
    went_no_further,
)
from loadtests.demo.ramps import FLOOR_GATE
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample
from loadtests.demo.status import StatusAnswer

FLOOR = GateSaid(FLOOR_GATE, "PASS", 0.0, 0.1)
KNOWN = Estimate(0.0, -0.1, 0.1)
PROVEN = tuple(GateSaid(gate, "PASS", 25.0, 20.0, "why", KNOWN) for gate in PROOFS)
PASSED = (*PROVEN, FLOOR)
FAILED = (GateSaid(ERRORS_HARM, "FAIL", 70.0, 60.0, "why", KNOWN),)
PERSON = "ann"
ERROR_BURST = next(harm for harm in HARMS if harm.feature == BREAKING)
WORSE_MODEL = next(harm for harm in HARMS if harm.feature == WORSE)


def entries(*told: tuple[str, str, int, str]) -> tuple[Entry, ...]:
    """Entries of (actor, command, share, phase), a second apart, with a passed gate where the controller moved."""
    made: list[Entry] = []
    killed = False
    for number, (actor, command, share, phase) in enumerate(told, start=1):
        killed = command == "kill" or (killed and command != "unkill")
        said = PASSED if actor == CONTROLLER else ()
        made.append(Entry(1_000.0 + number, actor, command, "why", number, share, killed, phase, said))
    return tuple(made)


RUN = entries(
    (PERSON, "create", 0, "READY"),
    (PERSON, "start", 1_000, "RUNNING"),
    (CONTROLLER, "advance", 5_000, "RUNNING"),
    (CONTROLLER, "advance", 25_000, "RUNNING"),
    (CONTROLLER, "advance", 50_000, "RUNNING"),
    (PERSON, "kill", 50_000, "PAUSED"),
    (PERSON, "unkill", 50_000, "PAUSED"),
    (PERSON, "resume", 50_000, "RUNNING"),
    (CONTROLLER, "advance", 100_000, "RUNNING"),
    (CONTROLLER, "monitor", 100_000, "MONITORING"),
    (CONTROLLER, "complete", 100_000, "COMPLETED"),
)
BACK = entries(
    (PERSON, "create", 0, "READY"),
    (PERSON, "start", 20_000, "RUNNING"),
    (CONTROLLER, "advance", 50_000, "RUNNING"),
    (CONTROLLER, "roll_back", 0, "ROLLED_BACK"),
)
BACK = (*BACK[:3], BACK[3]._replace(said=FAILED))


def sample(revision: int, assigned: str, served: str = BASELINE, **more: object) -> Sample:
    return Sample(BREAKING, f"c{revision}", False, 0.0, assigned=assigned, served=served, revision=revision, **more)  # type: ignore[arg-type]


SAMPLES = (
    sample(3, CANDIDATE, CANDIDATE),
    sample(3, CANDIDATE),
    *[sample(4, BASELINE) for _ in range(REQUESTS_AFTER_MIN)],
)
SETBACK = SetbackEvidence(ERROR_BURST, BACK, Began(1_001.5, 0.0), SAMPLES, StatusAnswer(BREAKING, 1, "no", 9.0))
DONE = StatusAnswer(MOVING, 0, "is reached", 7.0)


def changed(run: Sequence[Entry], number: int, **changes: object) -> tuple[Entry, ...]:
    return tuple(entry._replace(**changes) if at == number else entry for at, entry in enumerate(run))  # type: ignore[arg-type]


def evidence(**changes: object) -> RampEvidence:
    return RampEvidence(RUN, [], DONE, gated=True, setbacks=[SETBACK])._replace(**changes)  # type: ignore[arg-type]


def test_a_good_run_passes_every_check() -> None:
    verdicts = judge_ramps(evidence())
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert len(verdicts) == 10


def test_without_prometheus_there_is_nothing_to_say_of_the_floor() -> None:
    verdicts = judge_ramps(evidence(gated=False))
    assert all(verdict.ok for verdict in verdicts)
    assert not any("PromQL" in verdict.check for verdict in verdicts)
    assert len(verdicts) == 9


def test_only_what_was_injected_is_waited_for_and_only_errors_are_hidden() -> None:
    checks = [verdict.check for verdict in judge_setback(SETBACK._replace(harm=WORSE_MODEL))]
    assert checks == [
        "rewrite: worse checkpoint is rolled back",
        "rewrite: no step beyond it",
        "rewrite: nobody has the candidate after it",
    ]


def test_the_way_through_the_phases_is_told() -> None:
    found = ramp_completed(RUN).found
    assert found.startswith("DRAFT > READY > RUNNING > PAUSED > RUNNING > MONITORING > COMPLETED; 4 steps by the contr")
    assert found.endswith("9 s")


@pytest.mark.parametrize(
    "run",
    [
        (),
        RUN[:-1],
        RUN[:5],
        changed(RUN, 3, actor=PERSON),
        changed(RUN, 3, share_millipct=30_000),
        tuple(entry for entry in RUN if entry.share_millipct != 25_000),
    ],
    ids=["never", "not completed", "stopped midway", "a step by hand", "another share", "a step left out"],
)
def test_a_ramp_that_is_not_whole_or_not_the_controllers_is_seen(run: tuple[Entry, ...]) -> None:
    assert not ramp_completed(run).ok


@pytest.mark.parametrize(
    "run", [RUN[:5], changed(RUN, 6, phase="RUNNING"), changed(RUN, 7, actor=CONTROLLER), RUN[:7] + RUN[8:]]
)
def test_a_lifted_kill_must_leave_it_paused_for_a_person(run: tuple[Entry, ...]) -> None:
    assert not lifted_kill_paused(run).ok


@pytest.mark.parametrize(
    "said",
    [(), PROVEN[:1], (PROVEN[0], PROVEN[1]._replace(value=19.0)), (PROVEN[0], PROVEN[1]._replace(result="FAIL"))],
    ids=["nothing", "one of two", "below its limit", "failed"],
)
def test_a_step_without_proof_is_seen(said: tuple[GateSaid, ...]) -> None:
    verdict = evidence_decided(changed(RUN, 4, said=said))
    assert not verdict.ok
    assert verdict.found.startswith("quality and errors proven before 3 of 4 steps")


def test_proof_is_told_with_its_e_values() -> None:
    verdict = evidence_decided(RUN)
    assert verdict.ok
    assert verdict.found.endswith("before 4 of 4 steps; e-values of quality: 25, 25, 25, 25, limit 20")
    assert not evidence_decided(RUN[:4]).ok
    assert not evidence_decided(()).ok


def test_a_number_that_is_no_e_value_is_no_proof() -> None:
    said = tuple(each._replace(estimate=None) for each in PROVEN)
    assert not evidence_decided(changed(RUN, 4, said=said)).ok
    assert not evidence_decided(changed(RUN, 4, said=tuple(each._replace(value=None) for each in PROVEN))).ok


@pytest.mark.parametrize("said", [(), PROVEN, (FLOOR._replace(value=None),), (FLOOR._replace(result="FAIL"),)])
def test_a_step_below_the_floor_is_seen(said: tuple[GateSaid, ...]) -> None:
    verdict = floor_passed(changed(RUN, 4, said=said))
    assert not verdict.ok
    assert verdict.found.startswith(f"{FLOOR_GATE} passed 5 of 6 times")
    assert not floor_passed(RUN[:2]).ok


def test_the_exit_code_must_be_the_promised_one() -> None:
    assert status_told(MOVING, DONE, 0).ok
    assert not status_told(MOVING, DONE, 1).ok
    assert not status_told(MOVING, None, 0).ok


def test_a_failure_that_callers_saw_is_seen_as_is_a_candidate_that_did_not_fail() -> None:
    assert failures_were_hidden(SETBACK).ok
    seen = [*SAMPLES, sample(3, CANDIDATE, problem="status 502")]
    assert not failures_were_hidden(SETBACK._replace(samples=seen)).ok
    assert not failures_were_hidden(SETBACK._replace(samples=SAMPLES[:1])).ok


def test_the_rollback_is_told_with_its_verdict_and_how_long_it_took() -> None:
    verdict = rolled_back(SETBACK)
    assert verdict.ok
    assert verdict.check == "proofread: error burst is rolled back"
    assert verdict.found == "share 0 % after 2.5 s: errors-harm FAIL 70, limit 60"


def test_a_gate_that_leads_the_average_of_all_may_be_below_its_own_limit() -> None:
    leads = FAILED[0]._replace(value=50.0, reason="together with quality-harm: e-value 21; effect -0.3")
    assert rolled_back(SETBACK._replace(entries=changed(BACK, 3, said=(leads,)))).ok
    alone = leads._replace(reason="effect -0.3")
    assert not rolled_back(SETBACK._replace(entries=changed(BACK, 3, said=(alone,)))).ok


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": PERSON},
        {"said": ()},
        {"said": PASSED},
        {"said": (FAILED[0]._replace(estimate=None),)},
        {"said": (FAILED[0]._replace(value=None),)},
        {"share_millipct": 20_000},
        {"at_s": 1_001.0},
    ],
    ids=["by a person", "no verdict", "another gate", "no evidence", "no value", "a share is left", "before the harm"],
)
def test_a_rollback_for_no_good_reason_is_seen(changes: dict[str, object]) -> None:
    assert not rolled_back(SETBACK._replace(entries=changed(BACK, 3, **changes))).ok


def test_no_rollback_or_no_harm_is_no_success() -> None:
    assert rolled_back(SETBACK._replace(entries=BACK[:3])).found == "it was not"
    assert rolled_back(SETBACK._replace(began=None)).found == "the candidate was never harmed"
    assert not nobody_after(SETBACK._replace(entries=BACK[:3])).ok


@pytest.mark.parametrize("share", [20_000, 100_000])
def test_the_share_must_have_come_to_the_harmed_step_and_no_further(share: int) -> None:
    assert went_no_further(SETBACK).ok
    assert not went_no_further(SETBACK._replace(entries=changed(BACK, 2, share_millipct=share))).ok


def test_a_candidate_after_the_rollback_is_seen() -> None:
    assert nobody_after(SETBACK).ok
    assert not nobody_after(SETBACK._replace(samples=[*SAMPLES, sample(4, CANDIDATE)])).ok
    assert not nobody_after(SETBACK._replace(samples=[*SAMPLES, sample(5, BASELINE, CANDIDATE)])).ok


def test_too_few_requests_after_the_rollback_prove_nothing() -> None:
    assert not nobody_after(SETBACK._replace(samples=SAMPLES[:-1])).ok
