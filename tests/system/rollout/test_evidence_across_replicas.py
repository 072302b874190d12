"""Three replicas over one Redis gather evidence; of two controllers the one that judges it is killed, or sleeps."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from rollout.core.gates import Result
from rollout.core.ramp_model import Phase
from tests.system.rollout.cluster import CONTROLLERS, Cluster, running_cluster
from tests.system.rollout.gathered import Gathered
from tests.system.rollout.ledger import assert_whole_ramp
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.rollout.background import Background

pytestmark = pytest.mark.system

FEATURES = ("proven", "harmed")
SHARES = (20_000, 50_000)
GATE = {"role": "hard", "source": "evidence", "metric": "errors", "alpha": 0.05}
PROOF = {"name": "fine", "kind": "noninferiority", "margin": 0.3, **GATE}
HARM = {"name": "worse", "kind": "harm", "margin": 0.1, **GATE}
SOON = {"evidence": {"age": "1s"}}
TOO_FEW, ENOUGH = 30, 300
FAILS = {"kind": "status", "status": 503, "rate": 0.7}


@pytest.fixture(scope="module")
def cluster(
    need_redis: None, module_command: Callable[..., Any], module_folder: Path, background: Background
) -> Iterator[Cluster]:
    with running_cluster(module_command, module_folder, background, FEATURES) as started:
        for number in CONTROLLERS:
            started.start_controller(number)
        yield started


@pytest.fixture
def gathered(cluster: Cluster) -> Gathered:
    return Gathered(cluster.with_store)


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def step(cluster: Cluster, feature: str) -> int:
    return cluster.flags()[feature].progress.step


def begin(cluster: Cluster, feature: str, shares: tuple[int, ...], gate: dict[str, Any]) -> None:
    cluster.begin_ramp(feature, shares, "1s", {"gates": [gate], **SOON})
    at_once(lambda: cluster.flags()[feature].share_millipct == shares[0])
    cluster.settle()


def test_a_conversation_at_all_replicas_is_one_unit_and_a_new_leader_goes_on_with_what_there_is(
    cluster: Cluster, gathered: Gathered
) -> None:
    begin(cluster, "proven", SHARES, PROOF)
    assert not cluster.converse("proven", names("early", TOO_FEW))
    at_once(lambda: gathered.units("proven") >= TOO_FEW)
    at_once(lambda: (shown := gathered.shown("proven")) and shown.verdicts[0].samples == TOO_FEW)
    assert step(cluster, "proven") == 0
    first = cluster.wait_for_leader()
    os.kill(cluster.controllers[first].process.pid, signal.SIGKILL)
    assert not cluster.converse("proven", names("orphaned", ENOUGH))
    at_once(lambda: cluster.leader() not in {None, first})
    at_once(lambda: step(cluster, "proven") == 1)
    at_once(lambda: gathered.units("proven") >= TOO_FEW + ENOUGH)
    assert gathered.units("proven") == TOO_FEW + ENOUGH
    cluster.settle()
    assert not cluster.converse("proven", names("late", ENOUGH))
    at_once(cluster.completed("proven"))
    assert TOO_FEW + ENOUGH < gathered.units("proven") <= TOO_FEW + 2 * ENOUGH
    assert_whole_ramp(cluster.ledger("proven"), SHARES)
    assert cluster.flags() == cluster.replayed()
    cluster.start_controller(first)


def test_failures_at_all_replicas_roll_back_once_though_the_leader_slept(cluster: Cluster, gathered: Gathered) -> None:
    begin(cluster, "harmed", (50_000,), HARM)
    first = cluster.wait_for_leader()
    sleeper = cluster.controllers[first].process.pid
    cluster.set_faults("inhouse", FAILS)
    os.kill(sleeper, signal.SIGSTOP)
    try:
        assert not cluster.converse("harmed", names("failed", ENOUGH)), "the partner answers instead"
        at_once(lambda: cluster.flags()["harmed"].progress.phase is Phase.ROLLED_BACK)
    finally:
        os.kill(sleeper, signal.SIGCONT)
        cluster.set_faults("inhouse")
    at_once(lambda: sum(map(cluster.leads, CONTROLLERS)) == 1)
    made = [entry.command for entry in cluster.ledger("harmed").entries if entry.actor == "controller"]
    assert made == ["roll_back"]
    assert cluster.flags()["harmed"].share_millipct == 0
    shown = gathered.shown("harmed")
    assert shown is not None
    (verdict,) = shown.verdicts or shown.last
    assert (verdict.gate, verdict.result) == ("worse", Result.FAIL)
    assert 0 < (verdict.samples or 0) <= ENOUGH
    assert cluster.flags() == cluster.replayed()
