"""Three replicas under traffic, whose store is edited by many at once, goes silent, and comes back empty."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rollout.core.audit import record_change
from rollout.core.model import FeatureFlag
from tests.system.rollout.cluster import REPLICAS, Cluster, dark_s, running_cluster, shown
from tests.system.rollout.ledger import Findings
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.rollout.background import Background

pytestmark = pytest.mark.system

FEATURES = ("edited", "silent", "lost")
NOTHING = Findings([], [], [], [])
KILL_LIMIT_S = 1.0
EDITS = 100


@pytest.fixture(scope="module")
def cluster(
    need_redis: None, module_command: Callable[..., Any], module_folder: Path, background: Background
) -> Iterator[Cluster]:
    with running_cluster(module_command, module_folder, background, FEATURES, [""] * len(REPLICAS)) as started:
        yield started


def test_of_a_hundred_concurrent_edits_each_is_made_once_or_refused(cluster: Cluster) -> None:
    before = cluster.flags()["edited"].revision

    def edit(number: int) -> int:
        replica = cluster.replicas[number % len(cluster.replicas)]
        answer = replica.set_share("edited", 1_000 * (number % 50))
        assert answer.status_code in {200, 412}, answer.text
        if answer.status_code == 412:
            assert answer.json()["current"]["revision"] > 0
        return answer.status_code

    with cluster.traffic("edited") as traffic, ThreadPoolExecutor(EDITS) as people:
        codes = list(people.map(edit, range(EDITS)))
        cluster.settle()
    ledger = cluster.ledger("edited")
    made = [entry for entry in ledger.entries if entry.revision_before >= before]
    assert len(made) == codes.count(200) >= 1
    assert [entry.revision_after for entry in made] == list(range(before + 1, before + 1 + len(made)))
    assert cluster.flags() == cluster.replayed()
    found = ledger.judge(traffic.seen)
    assert found == NOTHING, shown(found)


def test_a_silent_redis_fails_no_request_and_kill_still_works(cluster: Cluster) -> None:
    cluster.commit_share("silent", 50_000)
    killer = 0
    with cluster.traffic("silent") as traffic:
        with cluster.black_hole():
            ends_s = time.time() + dark_s()
            at_once(lambda: cluster.replicas[2].samples()["glidepath_snapshot_age_seconds"] > 2)
            asked_s = time.time()
            answer = cluster.replicas[killer].command_of("silent", "kill")
            assert answer["killed"]
            refused = cluster.replicas[1].api.put(
                "/features/silent/share",
                json={"share_millipct": 100_000, "reason": "a test"},
                headers={"if-match": '"2"'},
            )
            assert refused.status_code == 503
            at_once(lambda: time.time() > ends_s)
            assert cluster.relay.swallowed > 0
            dark = traffic.since(asked_s + KILL_LIMIT_S)
        at_once(lambda: cluster.flags()["silent"].kill.on)
        cluster.settle()
        light_s = time.time()
        at_once(lambda: traffic.since(light_s + 1))
    arms = {number: {each.assigned for each in dark if each.replica == number} for number in REPLICAS}
    assert arms == {0: {"baseline"}, 1: {"baseline", "candidate"}, 2: {"baseline", "candidate"}}
    assert {each.assigned for each in traffic.since(light_s)} == {"baseline"}
    for replica in cluster.replicas:
        assert replica.feature("silent")["killed_locally"] is False
    found = cluster.ledger("silent").judge(traffic.seen)
    assert found == NOTHING, shown(found)
    assert cluster.flags() == cluster.replayed()


async def raise_share(store: Any) -> None:
    """As somebody does who takes the empty store for a new one."""
    flag = FeatureFlag(feature="lost", candidate="inhouse", baseline="partner", share_millipct=100_000)
    entry = record_change(None, flag, actor="stranger", command="create", reason="a test", at_s=time.time())
    await store.put_if_revision(flag, 0, entry)


def test_a_redis_that_comes_back_empty_raises_no_share_and_kill_still_works(cluster: Cluster) -> None:
    cluster.commit_share("lost", 40_000)
    before = cluster.ledger("lost")
    with cluster.traffic("lost") as traffic:
        cluster.redis.kill()
        cluster.redis.start()
        at_once(lambda: all("the store is empty" in str(each.state()["last_error"]) for each in cluster.replicas))
        cluster.with_store(raise_share)
        at_once(lambda: all("other data" in str(each.state()["last_error"]) for each in cluster.replicas))
        raised_s = time.time()
        at_once(lambda: len(traffic.since(raised_s + 0.5)) > 100)
        assert {each.revision for each in traffic.since(raised_s)} == {before.entries[-1].revision_after}
        cluster.replicas[1].command_of("lost", "kill")
        at_once(lambda: all(each.samples()['glidepath_killed{feature="lost"}'] == 1 for each in cluster.replicas))
        killed_s = time.time()
        at_once(lambda: len(traffic.since(killed_s + KILL_LIMIT_S)) > 50)
    assert {each.assigned for each in traffic.since(killed_s + KILL_LIMIT_S)} == {"baseline"}
    found = before.judge(traffic.seen)
    assert found == NOTHING, shown(found)
