"""Two controllers before one Redis: whichever leads is killed, frozen past its lease, or its write arrives late."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.rollout.cluster import CONTROLLERS, LEASE_S, Cluster, running_cluster
from tests.system.rollout.ledger import assert_good, assert_whole_ramp
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.rollout.background import Background
    from tests.system.rollout.conftest import Measured
    from tests.system.rollout.traffic import Seen

pytestmark = pytest.mark.system

FEATURES = ("orphaned", "frozen", "late")
SHARES = (1_000, 5_000, 25_000, 50_000, 100_000)
SLACK_S = 10.0
"""What a busy machine may add."""
OF_A_CONTROLLER = b'"actor":"controller"'
STALE = b"*2\r\n:2\r\n"
"""What the script of a write answers to a token that is not the newest."""


@pytest.fixture(scope="module")
def cluster(
    need_redis: None, module_command: Callable[..., Any], module_folder: Path, background: Background
) -> Iterator[Cluster]:
    """Replicas that leave the ramps alone, and two controllers in processes of their own."""
    with running_cluster(module_command, module_folder, background, FEATURES) as started:
        for number in CONTROLLERS:
            started.start_controller(number)
        started.wait_for_leader()
        yield started


def judge_end(cluster: Cluster, feature: str, seen: list[Seen]) -> None:
    ledger = cluster.ledger(feature)
    assert_whole_ramp(ledger, SHARES)
    assert_good(ledger.judge(seen))
    assert cluster.flags() == cluster.replayed()


def test_a_killed_leader_is_replaced_within_its_lease_and_no_step_is_made_twice(
    cluster: Cluster, measured: Measured
) -> None:
    first = cluster.wait_for_leader()
    with cluster.traffic("orphaned") as traffic:
        cluster.begin_ramp("orphaned", SHARES, "1s")
        at_once(lambda: cluster.flags()["orphaned"].progress.step == 1)
        os.kill(cluster.controllers[first].process.pid, signal.SIGKILL)
        killed_s = time.time()
        at_once(lambda: cluster.leader() not in {None, first})
        taken_over_s = time.time() - killed_s
        at_once(cluster.completed("orphaned"))
        cluster.settle()
        cluster.wait_for_answers(traffic)
    measured("lease taken over, s", taken_over_s)
    assert taken_over_s < LEASE_S + SLACK_S
    judge_end(cluster, "orphaned", traffic.seen)
    cluster.start_controller(first)


def test_a_leader_that_is_told_to_end_hands_over_at_once(cluster: Cluster, measured: Measured) -> None:
    first = cluster.wait_for_leader()
    assert cluster.controllers[first].stop() == 0
    ended_s = time.time()
    at_once(lambda: cluster.leader() not in {None, first})
    measured("lease handed over, s", time.time() - ended_s)
    cluster.start_controller(first)


def test_a_leader_that_is_cut_off_knows_that_it_leads_no_more(cluster: Cluster) -> None:
    first = cluster.wait_for_leader()
    other = 1 - first
    cluster.controller_relays[first].dark = True
    try:
        at_once(lambda: (cluster.leads(first), cluster.leads(other)) == (0, 1))
    finally:
        cluster.controller_relays[first].dark = False


def test_a_leader_that_slept_past_its_lease_changes_nothing_when_it_wakes(cluster: Cluster) -> None:
    first = cluster.wait_for_leader()
    with cluster.traffic("frozen") as traffic:
        cluster.begin_ramp("frozen", SHARES, "1s")
        at_once(lambda: cluster.flags()["frozen"].progress.step == 1)
        sleeper = cluster.controllers[first].process.pid
        os.kill(sleeper, signal.SIGSTOP)
        try:
            at_once(lambda: cluster.leader() not in {None, first})
            at_once(lambda: cluster.flags()["frozen"].progress.step >= 3)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        at_once(cluster.completed("frozen"))
        cluster.settle()
        cluster.wait_for_answers(traffic)
    judge_end(cluster, "frozen", traffic.seen)


def test_a_write_that_arrives_after_the_lease_went_to_another_is_refused_by_its_token(cluster: Cluster) -> None:
    """Nobody has written meanwhile, so the revision would let it pass."""
    for relay in cluster.controller_relays:
        relay.keeps_back = lambda data: OF_A_CONTROLLER in data
    with cluster.traffic("late") as traffic:
        cluster.begin_ramp("late", SHARES, "1s")
        at_once(lambda: any(relay.kept for relay in cluster.controller_relays))
        old = next(number for number in CONTROLLERS if cluster.controller_relays[number].kept)
        new = 1 - old
        sleeper = cluster.controllers[old].process.pid
        os.kill(sleeper, signal.SIGSTOP)
        try:
            at_once(lambda: cluster.leader() not in {None, old})
            at_once(lambda: cluster.controller_relays[new].kept > 0)
            before = cluster.version()
            cluster.release(old)
            at_once(lambda: cluster.controller_relays[old].late_answers)
            assert cluster.controller_relays[old].late_answers[0].startswith(STALE)
            assert cluster.version() == before
            cluster.release(new)
            at_once(lambda: cluster.flags()["late"].progress.step >= 2)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        at_once(cluster.completed("late"))
        cluster.settle()
        cluster.wait_for_answers(traffic)
    judge_end(cluster, "late", traffic.seen)
