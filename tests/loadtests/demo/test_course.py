"""What audit entries and views of the operator API, as they come over HTTP, are read as."""

import sys

from loadtests.demo.course import (
    Entry,
    Estimate,
    GateSaid,
    Held,
    Stage,
    Standing,
    entries_of,
    of_this_run,
    rollback_of,
    stages_of,
    standing_of,
)


def audited(revision: int, command: str, share: int, **more: object) -> dict[str, object]:
    """An entry as the API shows it; `details` hold only what changed."""
    plain = {"at_s": 100.0 + revision, "actor": "controller", "command": command, "reason": "r", "details": {}}
    return plain | {"revision_after": revision, "share_after_millipct": share} | more


def phase(name: str) -> dict[str, object]:
    return {"details": {"progress": {"phase": name}}}


RUN = [
    audited(1, "create", 0, details={"candidate": "x"}),
    audited(2, "create", 0, **phase("READY")),
    audited(3, "start", 1_000, **phase("RUNNING")),
    audited(4, "advance", 50_000, verdicts=[{"gate": "g", "result": "PASS", "value": 0.0, "limit": 0.1}]),
    audited(5, "kill", 50_000, details={"kill": {"on": True}, "progress": {"phase": "PAUSED"}}),
    audited(6, "unkill", 50_000, details={"kill": {"on": False}}),
    audited(7, "resume", 50_000, **phase("RUNNING")),
    audited(8, "advance", 100_000),
    audited(9, "complete", 100_000, **phase("COMPLETED")),
]
ENTRIES = entries_of(RUN[::-1])


def test_entries_carry_on_what_did_not_change() -> None:
    assert [entry.phase for entry in ENTRIES] == [
        None, "READY", "RUNNING", "RUNNING", "PAUSED", "PAUSED", "RUNNING", "RUNNING", "COMPLETED",
    ]  # fmt: skip
    assert [entry.revision for entry in ENTRIES if entry.killed] == [5]
    assert ENTRIES[3].said == (GateSaid("g", "PASS", 0.0, 0.1),)


def test_a_phase_that_is_the_first_one_is_left_out_of_progress() -> None:
    (entry,) = entries_of([audited(4, "end", 0, details={"progress": {"attempt": 1}})])
    assert entry.phase == "DRAFT"


def test_pages_are_added_once() -> None:
    first = entries_of(RUN[4::-1])
    assert entries_of(RUN[::-1], first) == ENTRIES
    assert entries_of(RUN[:1:-1], ENTRIES) == ENTRIES


def test_stages_are_times_of_one_share_whatever_else_bumps_the_revision() -> None:
    assert stages_of(ENTRIES) == (
        Stage("1 %", 1_000, killed=False, first=3, until=4),
        Stage("50 %", 50_000, killed=False, first=4, until=5),
        Stage("50 %, killed", 50_000, killed=True, first=5, until=6),
        Stage("50 %, kill lifted", 50_000, killed=False, first=6, until=8),
        Stage("100 %", 100_000, killed=False, first=8, until=sys.maxsize),
    )


def test_only_the_last_start_counts() -> None:
    again = entries_of([audited(11, "start", 1_000), audited(10, "set-share", 0)], ENTRIES)
    assert [entry.revision for entry in of_this_run(again)] == [11]
    assert [stage.name for stage in stages_of(again)] == ["1 %"]
    assert stages_of(ENTRIES[:2]) == of_this_run(()) == ()


def test_a_stage_holds_its_revisions_and_its_real_share() -> None:
    stage = Stage("5 %", 5_000, killed=False, first=3, until=5)
    assert [stage.holds(revision) for revision in (None, 2, 3, 4, 5)] == [False, False, True, True, False]
    assert stage.share == 0.05
    assert stage._replace(killed=True).share == 0


def test_a_view_is_read_with_its_holds_and_verdicts() -> None:
    view = {
        "feature": "f",
        "revision": 7,
        "share_millipct": 5_000,
        "kill": {"on": False},
        "ramp_state": {
            "phase": "RUNNING",
            "step": 1,
            "steps": 5,
            "holds": [{"reason": "baking", "text": "baking: 1 s of 5 s", "value": 1, "limit": 5}],
            "verdicts": [{"gate": "g", "result": "NO_DATA", "value": None, "limit": 0.1, "samples": None}],
        },
    }
    held, said = Held("baking", "baking: 1 s of 5 s"), GateSaid("g", "NO_DATA", None, 0.1)
    assert standing_of(view) == Standing("f", 7, 5_000, False, "RUNNING", 1, 5, (held,), (said,))
    assert standing_of(view | {"ramp_state": None}).phase is None


def test_a_verdict_is_one_line_with_value_and_limit() -> None:
    assert str(GateSaid("errors", "FAIL", 0.428571, 0.1)) == "errors FAIL 0.429, limit 0.1"
    assert str(GateSaid("errors", "NO_DATA", None, 0.1)) == "errors NO_DATA -, limit 0.1"


def test_entries_are_values() -> None:
    assert isinstance(ENTRIES[0], Entry)
    assert hash(ENTRIES[0]) == hash(entries_of(RUN[:1])[0])


def test_what_evidence_knew_is_read_with_its_verdict() -> None:
    known = {"effect": -0.1, "lower": -0.2, "upper": None, "margin": 0.05, "harm_value": 30.0}
    verdict = {"gate": "g", "result": "FAIL", "value": 30.0, "limit": 20.0, "reason": "r"}
    entry = audited(4, "roll_back", 0, verdicts=[verdict | {"estimate": known}, verdict | {"estimate": {}}])
    (read,) = entries_of([entry])
    told = GateSaid("g", "FAIL", 30.0, 20.0, "r", Estimate(-0.1, -0.2, None))
    assert read.said == (told, told._replace(estimate=Estimate(None, None, None)))


def test_a_rollback_is_that_of_the_last_start() -> None:
    back = audited(10, "roll_back", 0)
    assert rollback_of(ENTRIES) is None
    found = rollback_of(entries_of([back], ENTRIES))
    assert found is not None
    assert found.revision == 10
    assert rollback_of(entries_of([audited(11, "start", 1_000), back], ENTRIES)) is None
