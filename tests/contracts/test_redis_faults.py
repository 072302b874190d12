"""A real Redis that is full, restarted, failed over, a replica, or a node of a cluster: a right answer or an error."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import pytest

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.core import commands
from rollout.core.audit import record_change, replay
from rollout.core.claims import Claim
from rollout.core.errors import RevisionConflict, RolloutError, StaleWriter, StoreReset, StoreUnavailable
from rollout.core.keys import KeyChange, KeyRecord, first_entry
from rollout.core.model import FeatureFlag
from rollout.core.position import Standing
from rollout.core.votes import Choice, Vote
from rollout.follower import Follower
from rollout.ports import Lease, Once, QuotaAsk, Store, SumKey

pytestmark = pytest.mark.system

NEW = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")
SUM = SumKey("summarize", 1, "n")
KEY = KeyRecord(id="k1", digest="ab" * 32, name="first", tenant="t", created_at_s=1.0)
Servers = Callable[..., Any]


async def commit(store: Store, share: int, before: FeatureFlag | None = None, **options: Any) -> FeatureFlag:
    before = before or await store.get("summarize")
    after = commands.set_share(before or NEW, share)
    entry = record_change(before, after, actor="ann", command="set-share", reason="r", at_s=1.0)
    return await store.put_if_revision(after, before.revision if before else 0, entry, **options)


async def acquire(store: Store, holder: str) -> Lease:
    lease = await store.acquire_lease("controller", holder, 60.0)
    assert lease is not None
    return lease


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline_s = time.monotonic() + 60
    while not await condition():
        assert time.monotonic() < deadline_s, "not within its time"
        await asyncio.sleep(0.02)


async def has_noticed(follower: Follower) -> bool:
    return not await follower.refresh() and isinstance(follower.last_error, StoreReset)


def share(follower: Follower) -> int:
    return follower.snapshot.features["summarize"].flag.share_millipct


async def everything(store: Store) -> dict[str, Any]:
    """All that is stored, for comparing."""
    return {
        "load": await store.load(),
        "position": await store.position(),
        "audit": await store.audit(),
        "keys": await store.load_keys(),
        "sums": await store.read_sums("summarize"),
        "memory": await store.get_memory("summarize"),
        "outcome": await store.recall("new"),
    }


async def test_a_full_redis_refuses_each_write_whole_and_still_reads(new_redis: Servers) -> None:
    server = new_redis()
    store = open_store(server.url)
    lease = await acquire(store, "a")
    flag = await commit(store, 25_000, fencing=lease)
    await store.put_memory("summarize", 1, b"memory", fencing=lease)
    await store.add_sums({SUM: [1]}, "1")
    assert await store.change_keys(KeyChange((KEY,), (), first_entry(KEY)), 1)
    before = await everything(store)
    server.command("CONFIG SET maxmemory 1")
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: commit(store, 90_000, flag, fencing=lease, once=Once("new", b"x")),
        lambda: store.put_memory("summarize", 1, b"other", fencing=lease),
        lambda: store.add_sums({SUM: [1], SUM._replace(epoch=2): [1]}, "2"),
        lambda: store.claim_units([Claim("summarize", "d", 7)], "2"),
        lambda: store.put_vote(Vote("summarize", "0" * 32, "ann", Choice.TIE, "inhouse", "partner", 1.0)),
        lambda: store.remember(Once("new", b"x")),
        lambda: store.acquire_lease("controller", "a", 60.0),
        lambda: store.renew_lease(lease, 60.0),
        lambda: store.change_keys(KeyChange((), ("k1",), first_entry(KEY)), 2),
        lambda: store.lease_quota([QuotaAsk("q", 1, 5, 10, time.time() + 60)]),
    ]
    for write in writes:
        with pytest.raises(StoreUnavailable) as refused:
            await write()
        assert "full and wrote nothing" in refused.value.hint
    assert await everything(store) == before
    follower = Follower(store, WallClock())
    assert await follower.refresh()
    assert share(follower) == 25_000
    server.command("CONFIG SET maxmemory 0")
    assert await store.add_sums({SUM: [1]}, "2")
    assert await store.claim_units([Claim("summarize", "d", 7)], "2") == (True,)
    assert (await commit(store, 30_000, fencing=lease)).share_millipct == 30_000
    assert replay(await store.audit()) == (await store.load())[1]
    await store.close()


async def test_a_redis_restarted_with_its_data_has_lost_nothing(new_redis: Servers) -> None:
    server = new_redis(persistent=True)
    store = open_store(server.url)
    lease = await acquire(store, "a")
    await commit(store, 25_000, fencing=lease, once=Once("new", b"x"))
    await store.put_memory("summarize", 1, b"memory", fencing=lease)
    await store.add_sums({SUM: [2**60]}, "1")
    follower = Follower(store, WallClock())
    assert await follower.refresh()
    before = await everything(store)
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.load()
    server.start()
    assert await everything(store) == before
    assert not await store.add_sums({SUM: [2**60]}, "1")
    assert await store.acquire_lease("controller", "b", 60.0) is None
    await commit(store, 26_000, fencing=lease)
    assert (await acquire(store, "a")).token > lease.token
    assert await follower.refresh()
    assert share(follower) == 26_000
    await store.close()


async def test_a_redis_restarted_empty_stops_automation_and_replaces_nothing(new_redis: Servers) -> None:
    server = new_redis()
    store = open_store(server.url)
    lease = await acquire(store, "a")
    flag = await commit(store, 25_000, fencing=lease)
    follower = Follower(store, WallClock())
    assert await follower.refresh()
    server.kill()
    server.start()
    await until(lambda: has_noticed(follower))
    assert (follower.standing, share(follower)) == (Standing.EMPTIED, 25_000)
    assert await store.renew_lease(lease, 60.0) is None
    with pytest.raises(StaleWriter):
        await commit(store, 50_000, flag, fencing=lease)
    with pytest.raises(RevisionConflict):
        await commit(store, 50_000, flag)
    assert (await acquire(store, "b")).token > lease.token
    await commit(store, 99_000)
    assert not await follower.refresh()
    assert (follower.standing, share(follower)) == (Standing.REPLACED, 25_000)
    assert await store.accept_loss(follower.position) == await store.position()
    assert await follower.refresh()
    assert share(follower) == 99_000
    await store.close()


class Switch:
    """One address that leads to one of several servers, as what stands before a pair for failing over."""

    def __init__(self, port: int) -> None:
        self.to, self._open = port, set[asyncio.StreamWriter]()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.fail_over(self.to)
        await asyncio.sleep(0.05)

    def fail_over(self, port: int) -> None:
        self.to = port
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, ahead = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.close()
            return
        self._open |= {writer, ahead}
        await asyncio.gather(self._pass(reader, ahead), self._pass(behind, writer))
        self._open -= {writer, ahead}

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while read := await source.read(65_536):
                target.write(read)
        except OSError:
            pass
        target.close()


async def in_step(master: Store, replica: Store) -> bool:
    try:
        return await master.position() == await replica.position()
    except RolloutError:
        return False


@pytest.fixture
def pair(new_redis: Servers) -> tuple[Any, Any]:
    """A master and its replica."""
    master, replica = new_redis(), new_redis()
    replica.command(f"REPLICAOF 127.0.0.1 {master.port}")
    return master, replica


async def test_a_replica_is_read_but_not_written(pair: tuple[Any, Any]) -> None:
    master, replica = (open_store(server.url) for server in pair)
    await commit(master, 25_000)
    await until(lambda: in_step(master, replica))
    assert await replica.load() == await master.load()
    with pytest.raises(StoreUnavailable) as refused:
        await commit(replica, 90_000)
    assert "replica" in refused.value.hint
    assert await replica.load() == await master.load()
    await master.close()
    await replica.close()


async def test_after_failing_over_stale_writers_are_refused_and_nobody_more_is_exposed(pair: tuple[Any, Any]) -> None:
    """What the replica had not heard of is lost: two changes and a change of the controller."""
    first, second = pair
    async with Switch(first.port) as switch:
        store, behind = open_store(switch.url), open_store(second.url)
        old = await acquire(store, "a")
        kept = await commit(store, 25_000, fencing=old)
        await until(lambda: in_step(store, behind))
        second.command("REPLICAOF NO ONE")
        assert await store.release_lease(old)
        new = await acquire(store, "b")
        lost = await commit(store, 10_000, fencing=new)
        lost = await commit(store, 9_000, lost, fencing=new)
        follower = Follower(store, WallClock())
        assert await follower.refresh()
        first.kill()
        switch.fail_over(second.port)
        await until(lambda: answers(store))

        assert await store.get("summarize") == kept
        await until(lambda: has_noticed(follower))
        assert (follower.standing, share(follower)) == (Standing.WENT_BACK, 9_000)
        with pytest.raises(StaleWriter):
            await commit(store, 60_000, lost, fencing=new)
        with pytest.raises(RevisionConflict):
            await commit(store, 60_000, lost)
        assert await store.acquire_lease("controller", "b", 60.0) is None  # the release was lost too
        newest = await acquire(store, "a")
        assert newest.token > new.token
        with pytest.raises(StaleWriter):
            await commit(store, 60_000, kept, fencing=old)
        for value in (26_000, 27_000, 28_000):
            kept = await commit(store, value, kept, fencing=newest)
        assert await follower.refresh()
        assert (follower.standing, share(follower)) == (Standing.FOLLOWS, 28_000)
        assert replay(await store.audit()) == (await store.load())[1]
        await store.close()
        await behind.close()


async def answers(store: Store) -> bool:
    try:
        return await store.version() > 0
    except StoreUnavailable:
        return False


async def test_each_call_works_on_a_node_of_a_cluster(new_redis: Servers) -> None:
    """Which refuses scripts and transactions over keys of several slots."""
    server = new_redis(cluster=True)
    server.command("CLUSTER ADDSLOTSRANGE 0 16383")
    store = open_store(server.url)
    await until(lambda: ready(store))
    lease = await acquire(store, "a")
    await commit(store, 1_000, fencing=lease, once=Once("new", b"x"))
    await commit(store, 2_000)
    await store.put_memory("summarize", 2, b"m", fencing=lease)
    await store.add_sums({SUM: [1], SUM._replace(epoch=2, feature="draft"): [2]}, "1")
    assert await store.claim_units([Claim("summarize", "d", 7), Claim("draft", "d", 7)], "1") == (True, True)
    assert await store.change_keys(KeyChange((KEY,), (), first_entry(KEY)), 2)
    await store.touch_keys({"k1": 5.0})
    assert await store.lease_quota([QuotaAsk("q", n, 5, 10, time.time() + 60) for n in range(3)]) == [(5, 5)] * 3
    found = await everything(store)
    assert found["load"][1]["summarize"].share_millipct == 2_000
    assert (found["memory"], found["outcome"], found["sums"]) == ((2, b"m"), b"x", {SUM: (1,)})
    assert [record.last_used_at_s for record in found["keys"][1]] == [5.0]
    assert (len(found["audit"]), len(await store.history("summarize")), len(await store.key_history())) == (2, 2, 1)
    assert await store.remember(Once("k", b"y")) is None
    assert await store.renew_lease(lease, 5.0) is not None
    assert await store.release_lease(lease)
    await store.close()


async def ready(store: Store) -> bool:
    try:
        return await store.remember(Once("ready", b"")) is not None
    except StoreUnavailable:
        return False
