"""The 22 invariants of the rollout engine, each one test under its number.

P: a property over random documents; S: long random histories on real stores, under a simulated clock and injected
faults, held against witnesses that know what was allowed from the history alone (`invariants/`). What the witnesses
notice is tried in `test_invariants_notice.py`; the protocol of two controllers is checked exhaustively, as a model, in
`test_protocol_model.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from rollout.core.ramp_model import Phase
from tests.contracts.conftest import RedisServer, running_redis
from tests.examples import portion, some
from tests.rollout.invariants import conversations, documents, plans
from tests.rollout.invariants.histories import (
    Told,
    fleet_history,
    fleet_life,
    led,
    lone_fleet_history,
    lone_fleet_life,
    outage_life,
    replica_history,
    restart_history,
    together,
)
from tests.rollout.invariants.machines import AnyFaults, AnyInterleaving
from tests.rollout.invariants.ramp_history import AnyHistory, history, kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rollout.invariants.histories import Life

    ToldBy = Callable[[Callable[[], Told], Life], Told]


ELSEWHERE = {
    15: "the gateway's: tests/gateway/core/test_shadow_allowance.py (limits), tests/gateway/test_shadow.py (answers), "
    "tests/system/traps/test_shadow.py (both, in real processes)",
}
"""Without a test here, and why."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A real one of this file's own."""
    yield from running_redis()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def told_by(request: pytest.FixtureRequest) -> ToldBy:
    """What the ledgers say of fleets on this kind of store: `(on SQLite, life to lead on another one)`."""
    if request.param == "sqlite":
        return lambda history, _: history()
    server = request.getfixturevalue("redis")

    def lived(_: object, life: Life) -> Told:
        told = []
        for seed in range(some(4)):
            server.command("FLUSHALL")
            told.append(led(life(server.url, seed, 400)))
        return together(told)

    return lived


def test_invariant_01_a_growing_share_keeps_the_treated_and_leaves_out_the_held_out() -> None:
    documents.treated_stay_treated()


def test_invariant_02_a_decision_is_a_pure_function_everywhere() -> None:
    documents.a_decision_depends_on_document_and_context_alone()
    documents.flagd_core_decides_the_same()


def test_invariant_03_shares_and_samples_have_their_size_and_are_independent() -> None:
    for version in (2, 3):
        for salt in ("summarize", "s", "ü"):
            documents.shares_and_samples_are_independent(version, salt)


def test_invariant_04_whatever_comes_in_gets_an_arm_and_a_reason_to_count_by() -> None:
    documents.whatever_comes_in_it_is_an_arm_and_a_reason()


def test_invariant_05_a_kill_is_obeyed_on_every_replica_and_nothing_rises_under_it() -> None:
    kept("05", at_least=100)
    replica_history().kept("05", at_least=some(5_000))
    assert replica_history().tried["local kills"] >= some(50)


def test_invariant_06_the_share_rises_on_evidence_of_its_step_one_step_at_a_time() -> None:
    kept("06", at_least=1_000)
    assert history().tried["rises"] >= 50
    fleet_history().kept("06", at_least=some(20))


def test_invariant_07_absence_neither_advances_nor_rolls_back() -> None:
    kept("07", at_least=1_000)


def test_invariant_08_a_hard_fail_held_for_its_limit_rolls_back_also_over_restarts_and_edits() -> None:
    kept("08", at_least=20)
    restart_history()[2].kept("08", at_least=some(80))


def test_invariant_09_nothing_less_than_a_row_or_a_burst_rolls_back() -> None:
    kept("09", at_least=20)


def test_invariant_10_each_transition_is_made_once_and_no_stale_writer_writes(
    told_by: ToldBy,
) -> None:
    told = told_by(lone_fleet_history, lone_fleet_life)
    told.kept("10", at_least=some(100))
    assert min(told.tried["StaleWriter"], told.tried["leases"]) >= told.steps // 500, told.tried


def test_invariant_11_a_restart_at_any_call_changes_nothing_of_a_ramps_life() -> None:
    kept("11", at_least=100)
    spared, crashed, told = restart_history()
    assert crashed == spared
    assert told.tried["leases"] > 50 * len(spared)


def test_invariant_12_of_two_edits_one_is_refused_and_no_tick_undoes_a_persons_change(
    told_by: ToldBy,
) -> None:
    kept("12", at_least=1_000)
    told = told_by(fleet_history, fleet_life)
    told.kept("12", at_least=some(100))
    assert told.tried["RevisionConflict"] >= told.steps // 500, told.tried


def test_invariant_13_replay_of_the_log_is_the_state_and_decisions_say_by_what() -> None:
    for told in (fleet_history(), lone_fleet_history(), replica_history()):
        told.kept("13", at_least=some(10))
    assert fleet_history().tried["decisions"] >= some(10)


def test_invariant_14_without_a_good_store_the_last_good_snapshot_serves_and_the_ramp_holds() -> None:
    replica_history().kept("14", at_least=some(10_000))
    assert replica_history().tried["served"] >= some(500)
    led(outage_life())


def test_invariant_16_a_rollback_exposes_nobody_and_nothing_else_lowers_the_share() -> None:
    kept("16", at_least=1_000)
    fleet_history().kept("16", at_least=some(20))
    documents.a_cut_exposes_nobody_new()


def test_invariant_17_an_approval_is_another_persons_for_this_revision_and_step() -> None:
    kept("17", at_least=10)


def test_invariant_18_out_of_a_rollback_leads_a_command_after_the_cooldown_alone() -> None:
    kept("18", at_least=100)
    assert history().tried["exits"] >= 10


def test_invariant_19_a_conversation_stays_on_its_arm_and_pinned_ones_are_counted_apart() -> None:
    conversations.a_conversation_keeps_its_arm()


def test_invariant_20_a_log_line_carries_what_a_decision_says() -> None:
    conversations.a_line_has_all_that_a_decision_says()
    documents.a_decision_carries_what_a_log_line_needs()


def test_invariant_21_a_rollback_takes_no_more_than_the_baseline_bears() -> None:
    kept("21", at_least=20)


def test_invariant_22_validation_refuses_what_could_not_be_judged_and_warns_of_what_takes_too_long() -> None:
    plans.what_is_wrong_is_refused_and_nothing_else()
    plans.samples_that_cannot_come_in_time_are_warned_of()
    documents.what_is_let_through_never_meets_a_fault()


def test_no_short_history_breaks_an_invariant() -> None:
    run_state_machine_as_test(AnyHistory, settings=settings(stateful_step_count=30, deadline=None))
    for machine in (AnyInterleaving, AnyFaults):
        fewer = settings(stateful_step_count=30, deadline=None, max_examples=some(30))
        run_state_machine_as_test(machine, settings=fewer)


def test_a_refused_command_changes_nothing_and_every_phase_is_lived_through() -> None:
    kept("refused", at_least=100)
    assert all(history().tried[phase] >= 20 for phase in Phase), history().tried


def test_all_22_are_here_and_take_more_than_ten_thousand_steps() -> None:
    named = sorted(int(found[1]) for name in globals() if (found := re.match(r"test_invariant_(\d\d)_", name)))
    assert sorted({*named, *ELSEWHERE}) == list(range(1, 23))
    on_stores = fleet_history().steps + lone_fleet_history().steps + replica_history().steps
    assert on_stores >= 10_000 * portion()
    assert history().tried["steps"] + on_stores >= 10_000
