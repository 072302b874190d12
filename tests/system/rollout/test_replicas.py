"""Three replicas under traffic, two with a controller: a ramp, many edits at once, a silent Redis and an empty one.

Followers poll: nobody subscribes to what the store publishes, so all of this is also what holds without notices.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from rollout.core.audit import record_change
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Phase, Progress, RampPlan, Step
from tests.system.rollout.cluster import REPLICAS, WORKERS, Cluster, dark_s, running_cluster
from tests.system.rollout.ledger import assert_good, assert_whole_ramp
from tests.system.traps.conftest import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.rollout.background import Background
    from tests.system.rollout.conftest import Measured
    from tests.system.rollout.ledger import Ledger
    from tests.system.rollout.traffic import Seen

pytestmark = pytest.mark.system

FEATURES = ("ramped", "edited", "contended", "silent", "held", "lost")
SHARES = (1_000, 5_000, 25_000, 50_000, 100_000)
IN_FORCE_S = 1.0
"""Within which what was committed, or said to a replica, is promised to be in force."""
SLACK_S = 9.0
"""What a busy machine may add to it."""
EDITS = 100


@pytest.fixture(scope="module")
def cluster(
    need_redis: None, module_command: Callable[..., Any], module_folder: Path, background: Background
) -> Iterator[Cluster]:
    with running_cluster(module_command, module_folder, background, FEATURES, own_controllers=2) as started:
        yield started


def heard(cluster: Cluster, limit_s: str = "+Inf") -> list[float]:
    """By replica: how often its workers have put a change in force, within a limit."""
    name = f'glidepath_propagation_seconds_bucket{{le="{limit_s}"}}'
    return [replica.samples().get(name, 0.0) for replica in cluster.replicas]


def test_a_ramp_runs_to_its_end_and_each_step_is_in_force_everywhere_at_once(
    cluster: Cluster, measured: Measured
) -> None:
    limits_s = ("+Inf", "10.0", "1.0")
    before = [heard(cluster, limit_s) for limit_s in limits_s]
    with cluster.traffic("ramped") as traffic:
        cluster.begin_ramp("ramped", SHARES, "2s")
        at_once(cluster.completed("ramped"))
        cluster.settle()
        cluster.wait_for_answers(traffic)
    ledger = cluster.ledger("ramped")
    assert_whole_ramp(ledger, SHARES)
    assert_good(ledger.judge(traffic.seen))
    assert cluster.flags() == cluster.replayed()
    lag_s = ledger.lag_s(traffic.seen)
    after = [heard(cluster, limit_s) for limit_s in limits_s]
    all_heard, in_ten, in_one = (
        [new - old for old, new in zip(*each, strict=True)] for each in zip(before, after, strict=True)
    )
    measured("latest request that met what was superseded, s", lag_s)
    measured("changes in force within a second, of all", sum(in_one) / sum(all_heard))
    assert lag_s < IN_FORCE_S + SLACK_S
    assert in_ten == all_heard
    # Steps are far apart; what is committed within one poll is heard of once.
    assert all(number >= workers * len(SHARES) for number, workers in zip(all_heard, WORKERS, strict=True))


def test_of_a_hundred_concurrent_edits_each_is_made_once_or_refused(cluster: Cluster) -> None:
    before = cluster.flags()["edited"].revision

    def edit(number: int) -> int:
        answer = cluster.replicas[number % len(cluster.replicas)].set_share("edited", 1_000 * (number % 50))
        assert answer.status_code in {200, 412}, answer.text
        return answer.status_code

    with cluster.traffic("edited") as traffic, ThreadPoolExecutor(EDITS) as people:
        codes = list(people.map(edit, range(EDITS)))
        cluster.settle()
        cluster.wait_for_answers(traffic)
    ledger = cluster.ledger("edited")
    made = [entry for entry in ledger.entries if entry.revision_before >= before]
    assert len(made) == codes.count(200) >= 1
    assert [entry.revision_after for entry in made] == list(range(before + 1, before + 1 + len(made)))
    assert cluster.flags() == cluster.replayed()
    assert_good(ledger.judge(traffic.seen))


def test_a_kill_amid_edits_is_in_force_at_once_and_stays(cluster: Cluster) -> None:
    cluster.commit_share("contended", 60_000)

    def edit(number: int) -> None:
        replica = cluster.replicas[number % len(cluster.replicas)]
        if number == EDITS // 4:
            replica.command_of("contended", "kill")
            return
        answer = replica.set_share("contended", 50_000 - 1_000 * (number % 50))
        assert answer.status_code in {200, 409, 412}, answer.text

    with cluster.traffic("contended") as traffic, ThreadPoolExecutor(EDITS // 2) as people:
        list(people.map(edit, range(EDITS)))
        at_once(lambda: cluster.flags()["contended"].kill.on)
        cluster.settle()
        settled_s = time.time()
        cluster.wait_for_answers(traffic)
    assert {each.assigned for each in traffic.since(settled_s)} == {"baseline"}
    assert_good(cluster.ledger("contended").judge(traffic.seen))
    assert cluster.flags() == cluster.replayed()


def test_a_silent_redis_fails_no_request_holds_ramps_and_kill_still_works(cluster: Cluster, measured: Measured) -> None:
    cluster.commit_share("silent", 50_000)
    killer = 2
    with cluster.traffic("silent", "held") as traffic:
        cluster.begin_ramp("held", SHARES, "1s")
        at_once(lambda: cluster.flags()["held"].progress.step == 1)
        with cluster.black_hole():
            dark_since_s = time.time()
            at_once(lambda: cluster.replicas[killer].samples()["glidepath_snapshot_age_seconds"] > 2)
            asked_s = time.time()
            assert cluster.replicas[killer].command_of("silent", "kill")["killed"]
            refused = cluster.replicas[0].set_share("silent", 100_000, revision=2)
            assert refused.status_code == 503
            assert cluster.replicas[1].state()["store"] != "ok"
            at_once(lambda: time.time() > dark_since_s + dark_s())
            light_s = time.time()
        dark = [each for each in traffic.since(dark_since_s) if each.sent_s < light_s]
        at_once(lambda: cluster.flags()["silent"].kill.on)
        at_once(cluster.completed("held"))
        cluster.settle()
        settled_s = time.time()
        cluster.wait_for_answers(traffic)
    measured("answers while Redis was silent", len(dark))
    measured("the slowest of them, s", max(each.got_s - each.sent_s for each in dark))
    killed = [each for each in dark if each.feature == "silent" and each.sent_s > asked_s + IN_FORCE_S]
    arms = {number: {each.assigned for each in killed if each.replica == number} for number in REPLICAS}
    assert arms == {0: {"candidate", "baseline"}, 1: {"candidate", "baseline"}, killer: {"baseline"}}
    late = [each for each in traffic.since(settled_s) if each.feature == "silent"]
    assert {each.assigned for each in late} == {"baseline"}
    assert not any(replica.feature("silent")["killed_locally"] for replica in cluster.replicas)
    ramp = cluster.ledger("held")
    assert_whole_ramp(ramp, SHARES)
    assert not [entry for entry in ramp.entries if dark_since_s < entry.at_s < light_s]
    advances_s = [entry.at_s for entry in ramp.entries if entry.command in {"start", "advance"}]
    assert all(after - before >= 1 for before, after in pairwise(advances_s))
    assert_good(ramp.judge(traffic.seen))
    assert_good(cluster.ledger("silent").judge(traffic.seen))
    assert cluster.flags() == cluster.replayed()


async def raise_share(store: Any) -> None:
    """As somebody does who takes the empty store for a new one: half of all, and a ramp that is due to go on."""
    flag = FeatureFlag(
        feature="lost",
        candidate="inhouse",
        baseline="partner",
        share_millipct=50_000,
        ramp=RampPlan((Step(50_000), Step(100_000))),
        progress=Progress(Phase.RUNNING, attempt=1, step=0, ramp_began_s=1.0, step_began_s=1.0),
    )
    entry = record_change(None, flag, actor="stranger", command="create", reason="a test", at_s=time.time())
    await store.put_if_revision(flag, 0, entry)


def standings(cluster: Cluster) -> set[str]:
    return {replica.standing() for replica in cluster.replicas}


class Loss(NamedTuple):
    """What was answered while Redis came back empty, had another flag written, and a kill."""

    before: dict[str, Ledger]
    seen: list[Seen]
    written_s: float
    """When all replicas had seen the other flag."""
    killed_s: float
    """When all had the kill in force."""


@pytest.fixture(scope="module")
def loss(cluster: Cluster) -> Loss:
    """Afterwards the store has one feature, killed, of all, and no key; it is in doubt until that is accepted."""
    cluster.commit_share("lost", 40_000)
    cluster.commit_share("edited", 30_000)
    before = {feature: cluster.ledger(feature) for feature in ("lost", "edited")}
    with cluster.traffic(*before) as traffic:
        cluster.redis.kill()
        cluster.redis.start()
        at_once(lambda: standings(cluster) == {"emptied"})
        assert cluster.version() == 0
        shown = cluster.replicas[2].state()
        assert ({each["feature"] for each in shown["features"]}, shown["store"] == "ok") == (set(FEATURES), False)
        cluster.with_store(raise_share)
        at_once(lambda: standings(cluster) == {"replaced"})
        written_s = time.time()
        cluster.wait_for_answers(traffic)
        assert cluster.version() == 1
        cluster.replicas[1].command_of("lost", "kill")
        at_once(lambda: all(each.samples()['glidepath_killed{feature="lost"}'] == 1 for each in cluster.replicas))
        killed_s = time.time()
        cluster.wait_for_answers(traffic)
    return Loss(before, traffic.seen, written_s, killed_s)


def test_a_redis_that_comes_back_empty_raises_no_share_and_kill_still_works(loss: Loss) -> None:
    told = {(each.feature, each.revision) for each in loss.seen if each.sent_s > loss.written_s}
    assert told == {(feature, ledger.entries[-1].revision_after) for feature, ledger in loss.before.items()}
    killed = {each.assigned for each in loss.seen if each.feature == "lost" and each.sent_s > loss.killed_s}
    assert killed == {"baseline"}
    for ledger in loss.before.values():
        assert_good(ledger.judge(loss.seen))


@pytest.mark.usefixtures("loss")
def test_a_replica_that_starts_before_a_store_in_doubt_leaves_it_alone(cluster: Cluster) -> None:
    version = cluster.version()
    cluster.restart_replica(2)
    with cluster.traffic("edited") as traffic:
        cluster.wait_for_answers(traffic)
    assert standings(cluster) == {"replaced"}
    assert not any(each.failed for each in traffic.seen)
    assert len({each.revision for each in traffic.seen}) == 1
    assert cluster.version() == version


@pytest.mark.usefixtures("loss")
def test_an_accepted_loss_costs_no_request_and_raises_no_share(cluster: Cluster) -> None:
    """What the store lost begins anew, at share 0; callers' keys stay good."""
    with cluster.traffic("lost", "edited") as traffic:
        answer = cluster.replicas[0].api.post("/store/accept-loss", json={"reason": "a test"})
        assert answer.status_code == 200, answer.text
        at_once(lambda: standings(cluster) == {"follows"})
        at_once(lambda: {replica.state()["last_error"] for replica in cluster.replicas} == {None})
        made = cluster.replicas[1].api.post("/keys", json={"name": "new", "tenant": "new", "reason": "a test"})
        assert made.status_code == 201, made.text
        cluster.settle()
        settled_s = time.time()
        cluster.wait_for_answers(traffic)
    assert not [each for each in traffic.seen if each.failed]
    assert {each.assigned for each in traffic.since(settled_s)} == {"baseline"}
    flags = cluster.flags()
    assert set(flags) == set(FEATURES)
    assert (flags["lost"].kill.on, flags["lost"].progress.phase) == (True, Phase.PAUSED)
    assert not any(replica.feature("lost")["killed_locally"] for replica in cluster.replicas)
    assert {flag.share_millipct for name, flag in flags.items() if name != "lost"} == {0}
    assert flags == cluster.replayed()
    cluster.commit_share("edited", 10_000)
