from pathlib import Path

import pytest

from gateway.core.checks.sampling import CheckSample
from gateway.gauges import check_gauges, rollout_gauges, worker_gauges
from gateway.quotas import Quotas
from rollout.adapters.clock import WallClock
from rollout.adapters.sqlite import SqliteStore
from rollout.follower import Follower
from rollout.seed import ensure_features


class NoStore:
    async def lease_quota(self, asks: object) -> list[object]:
        raise AssertionError("nothing is limited")


QUOTAS = Quotas(NoStore())


@pytest.fixture
async def follower(tmp_path: Path, stack) -> Follower:
    store, clock = SqliteStore(tmp_path / "store.db"), WallClock()
    stack.push_async_callback(store.close)
    await ensure_features(store, {"draft": ("inhouse", "partner")}, clock)
    return Follower(store, clock)


def read(relay, follower: Follower) -> dict[tuple[str, ...], float]:
    readings = [*worker_gauges(relay, follower, QUOTAS)(), *rollout_gauges(follower)]
    return {(each.name, *labels): value for each in readings for labels, value in each.series}


async def test_before_and_after_the_first_document(relay_gateway, follower: Follower, unused_port: int) -> None:
    relay = (await relay_gateway(candidate=unused_port, baseline=unused_port)).relay
    before = read(relay, follower)
    assert before["glidepath_snapshot_version",] == -1
    assert before["glidepath_snapshot_age_seconds",] == float("inf")
    await follower.refresh()
    after = read(relay, follower)
    assert after["glidepath_snapshot_version",] > 0
    assert after["glidepath_snapshot_age_seconds",] < 60
    assert after["glidepath_share_ratio", "draft"] == 0.0
    assert after["glidepath_killed", "draft"] == 0.0
    assert after["glidepath_flag_revision", "draft"] == 1.0


async def test_a_local_kill_shows(relay_gateway, follower: Follower, unused_port: int) -> None:
    relay = (await relay_gateway(candidate=unused_port, baseline=unused_port)).relay
    await follower.refresh()
    await follower.kill_locally("draft")
    assert read(relay, follower)["glidepath_killed", "draft"] == 1.0


async def test_connections_by_upstream_and_state(
    relay_gateway, upstream, follower: Follower, unused_port: int, until
) -> None:
    async def hold(peer) -> None:
        await peer.request()
        await peer.gone()

    server = await upstream(hold)
    gateway = await relay_gateway(candidate=server.port, baseline=unused_port, connections_max=1)
    callers = [await gateway.caller() for _ in range(3)]
    for caller in callers:
        caller.post({"model": "copilot/draft", "user": "u"})
    await until(lambda: gateway.held == (3, 3, 1, 2))
    gauges = read(gateway.relay, follower)
    assert gauges["glidepath_requests_in_flight",] == gauges["glidepath_places_taken",] == 3
    assert gauges["glidepath_tasks",] > 0
    states = {
        state: gauges["glidepath_upstream_connections", "inhouse", state] for state in ("idle", "busy", "waiting")
    }
    assert states == {"idle": 0, "busy": 1, "waiting": 2}
    assert gauges["glidepath_upstream_connections", "partner", "busy"] == 0


async def test_the_oldest_snapshot_of_all_workers_shows(relay_gateway, follower: Follower, unused_port: int) -> None:
    relay = (await relay_gateway(candidate=unused_port, baseline=unused_port)).relay
    rules = {each.name: each.merge for each in worker_gauges(relay, follower, QUOTAS)()}
    assert rules.pop("glidepath_snapshot_version") == "min"
    assert rules.pop("glidepath_snapshot_age_seconds") == "max"
    assert rules.pop("glidepath_quota_age_seconds") == rules.pop("glidepath_quota_store_down") == "max"
    assert set(rules.values()) == {"sum"}


async def test_the_state_of_each_endpoint(relay_gateway, follower: Follower, unused_port: int) -> None:
    relay = (await relay_gateway(candidate=unused_port, baseline=unused_port)).relay
    breaker = relay.upstreams["inhouse"].endpoints[0].breaker
    for ticket in [breaker.on_sent(0.0) for _ in range(5)]:
        breaker.on_failure(0.0, ticket)
    gauges, label = read(relay, follower), f"127.0.0.1:{unused_port}/v1"
    for upstream, now in (("inhouse", "ejected"), ("partner", "healthy")):
        for state in ("healthy", "ejected", "probing", "unhealthy"):
            assert gauges["glidepath_endpoint_state", upstream, label, state] == float(state == now)


def test_the_sample_in_force_shows() -> None:
    sampled = CheckSample(10_000)
    sampled.thin(100.0, 99.0)
    (reading,) = check_gauges(sampled)()
    assert (reading.name, reading.series, reading.merge) == ("glidepath_check_sample_ratio", (((), 0.05),), "min")
