"""Each check on the ramps passes on what a good run leaves and fails on the one fault it is there for."""

from collections.abc import Sequence

import pytest

from loadtests.demo.course import CONTROLLER, Entry, GateSaid
from loadtests.demo.plan import BREAKING, MOVING
from loadtests.demo.ramp_judge import (
    REQUESTS_AFTER_MIN,
    BreachEvidence,
    RampEvidence,
    breach_rolled_back,
    breach_was_hidden,
    breach_went_no_further,
    gates_passed,
    judge_ramps,
    lifted_kill_paused,
    nobody_after,
    ramp_completed,
    status_told,
)
from loadtests.demo.ramps import ERRORS_GATE
from loadtests.demo.sample import BASELINE, CANDIDATE, Sample
from loadtests.demo.status import StatusAnswer

PASSED = (GateSaid(ERRORS_GATE, "PASS", 0.0, 0.1),)
FAILED = (GateSaid(ERRORS_GATE, "FAIL", 0.4, 0.1),)
PERSON = "ann"


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
BREACH = BreachEvidence(BACK, 1_001.5, SAMPLES, StatusAnswer(BREAKING, 1, "will not be reached", 9.0))
DONE = StatusAnswer(MOVING, 0, "is reached", 7.0)


def changed(run: Sequence[Entry], number: int, **changes: object) -> tuple[Entry, ...]:
    return tuple(entry._replace(**changes) if at == number else entry for at, entry in enumerate(run))  # type: ignore[arg-type]


def test_a_good_run_passes_every_check() -> None:
    verdicts = judge_ramps(RampEvidence(RUN, DONE, BREACH))
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert len(verdicts) == 9


def test_without_gates_there_is_nothing_to_say_of_them() -> None:
    verdicts = judge_ramps(RampEvidence(RUN, DONE, None))
    assert [verdict.ok for verdict in verdicts] == [True] * 3
    assert not any("gate" in verdict.check or "breach" in verdict.check for verdict in verdicts)


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


@pytest.mark.parametrize("said", [(), FAILED, (GateSaid(ERRORS_GATE, "PASS", None, 0.1),)])
def test_a_step_without_a_passed_gate_is_seen(said: tuple[GateSaid, ...]) -> None:
    verdict = gates_passed(changed(RUN, 4, said=said))
    assert not verdict.ok
    assert verdict.found.startswith(f"{ERRORS_GATE} passed 5 of 6 times")
    assert not gates_passed(RUN[:2]).ok


def test_the_exit_code_must_be_the_promised_one() -> None:
    assert status_told(MOVING, DONE, 0).ok
    assert not status_told(MOVING, DONE, 1).ok
    assert not status_told(MOVING, None, 0).ok


def test_a_failure_that_callers_saw_is_seen_as_is_a_candidate_that_did_not_fail() -> None:
    assert breach_was_hidden(BREACH).ok
    assert not breach_was_hidden(BREACH._replace(samples=[*SAMPLES, sample(3, CANDIDATE, problem="status 502")])).ok
    assert not breach_was_hidden(BREACH._replace(samples=SAMPLES[:1])).ok


def test_the_rollback_is_told_with_its_verdict_and_how_long_it_took() -> None:
    verdict = breach_rolled_back(BREACH)
    assert verdict.ok
    assert verdict.found == f"share 0 % 2.5 s after the breach: {ERRORS_GATE} FAIL 0.4, limit 0.1"


@pytest.mark.parametrize(
    "changes",
    [{"actor": PERSON}, {"said": ()}, {"said": PASSED}, {"share_millipct": 20_000}, {"at_s": 1_001.0}],
    ids=["by a person", "no verdict", "a gate that passed", "a share is left", "before the breach"],
)
def test_a_rollback_for_no_good_reason_is_seen(changes: dict[str, object]) -> None:
    assert not breach_rolled_back(BREACH._replace(entries=changed(BACK, 3, **changes))).ok


def test_no_rollback_or_no_breach_is_no_success() -> None:
    assert breach_rolled_back(BREACH._replace(entries=BACK[:3])).found == "it did not"
    assert breach_rolled_back(BREACH._replace(broken_at_s=None)).found == "the candidate was never broken"
    assert not nobody_after(BREACH._replace(entries=BACK[:3])).ok


@pytest.mark.parametrize("share", [20_000, 100_000])
def test_the_share_must_have_come_to_the_broken_step_and_no_further(share: int) -> None:
    assert breach_went_no_further(BREACH).ok
    assert not breach_went_no_further(BREACH._replace(entries=changed(BACK, 2, share_millipct=share))).ok


def test_a_candidate_after_the_rollback_is_seen() -> None:
    assert nobody_after(BREACH).ok
    assert not nobody_after(BREACH._replace(samples=[*SAMPLES, sample(4, CANDIDATE)])).ok
    assert not nobody_after(BREACH._replace(samples=[*SAMPLES, sample(5, BASELINE, CANDIDATE)])).ok


def test_too_few_requests_after_the_rollback_prove_nothing() -> None:
    assert not nobody_after(BREACH._replace(samples=SAMPLES[:-1])).ok
