"""What every store must do with idempotency keys, the whole audit log, and its own position."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.cli.audit_export import export_lines, import_lines
from rollout.core import commands
from rollout.core.audit import record_change, replay
from rollout.core.errors import CommandRepeated, InvalidArgument, RevisionConflict, StaleWriter
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.position import Position, Standing, compare
from rollout.ports import Once, Store

NEW = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")


async def put(store: Store, before: FeatureFlag | None, after: FeatureFlag, **options: Any) -> FeatureFlag:
    entry = record_change(before, after, actor="ann", command="change", reason="r", at_s=1.0)
    return await store.put_if_revision(after, before.revision if before else 0, entry, **options)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rollout.adapters.sqlite_control", "rollout.adapters.redis_control"):
        monkeypatch.setattr(f"{module}.KEEP_MAX", 5)


async def test_a_command_sent_twice_is_done_once_and_answered_alike(store: Store, store_url: str) -> None:
    once = Once("key 1", b'{"revision": 1}\x00\xff')
    assert await store.recall("key 1") is None
    flag = await put(store, None, NEW, once=once)
    other = open_store(store_url)
    assert await other.recall("key 1") == once.outcome
    for before in (None, flag):
        with pytest.raises(CommandRepeated) as repeated:
            await put(other, before, NEW, once=Once("key 1", b"another"))
        assert repeated.value.outcome == once.outcome
    assert await store.version() == 1
    await other.close()


async def test_of_many_of_one_key_one_is_done(store: Store) -> None:
    sent = [put(store, None, replace(NEW, feature=f"f{n}"), once=Once("k", b"%d" % n)) for n in range(30)]
    results = await asyncio.gather(*sent, return_exceptions=True)
    done = [result for result in results if isinstance(result, FeatureFlag)]
    assert len(done) == 1
    outcomes = {result.outcome for result in results if isinstance(result, CommandRepeated)}
    assert outcomes == {done[0].feature.removeprefix("f").encode()}


async def test_a_refused_command_is_not_remembered(store: Store) -> None:
    flag = await put(store, None, NEW)
    lease = await store.acquire_lease("controller", "a", 60.0)
    assert lease is not None
    with pytest.raises(RevisionConflict):
        await put(store, replace(flag, revision=9), NEW, once=Once("k", b"x"))
    with pytest.raises(StaleWriter):
        await put(store, flag, NEW, once=Once("k", b"x"), fencing=lease._replace(token=1))
    assert await store.recall("k") is None
    await put(store, flag, NEW, once=Once("k", b"y"))
    assert await store.recall("k") == b"y"


async def test_a_command_that_writes_nothing_is_remembered_too(store: Store) -> None:
    assert await store.remember(Once("k", b"first")) is None
    assert await store.remember(Once("k", b"second")) == b"first"
    assert await store.recall("k") == b"first"
    with pytest.raises(CommandRepeated):
        await put(store, None, NEW, once=Once("k", b"third"))
    assert await store.version() == 0


@pytest.mark.usefixtures("few")
async def test_the_newest_keys_are_kept(store: Store) -> None:
    for number in range(20):
        await store.remember(Once(f"k{number}", b"%d" % number))
        await asyncio.sleep(0.002)  # told apart by the millisecond
    kept = [number for number in range(20) if await store.recall(f"k{number}") is not None]
    assert kept == list(range(15, 20))


async def test_a_key_is_forgotten_in_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.remember(Once("k", b"first")) is None
    monkeypatch.setattr("rollout.adapters.sqlite_control.KEEP_S", 0.0)
    monkeypatch.setattr("rollout.adapters.redis_control._KEEP_MS", 0)
    assert await store.recall("k") is None
    assert await store.remember(Once("k", b"second")) is None


@pytest.mark.parametrize("once", [Once("", b""), Once("k" * 201, b""), Once("ü", b""), Once("k", b"x" * 70_000)])
async def test_what_cannot_be_remembered_is_refused(store: Store, once: Once) -> None:
    with pytest.raises(InvalidArgument):
        await store.remember(once)
    with pytest.raises(InvalidArgument):
        await put(store, None, NEW, once=once)
    assert await store.version() == 0


async def test_the_audit_log_of_all_features_is_read_in_pages_in_the_order_of_time(store: Store) -> None:
    assert await store.audit() == []
    flags = {name: await put(store, None, replace(NEW, feature=name)) for name in ("b", "a", "c")}
    for number in range(1, 21):
        name = "abc"[number % 3]
        flags[name] = await put(store, flags[name], commands.set_share(flags[name], number))
    pages, since = [], 0
    while page := await store.audit(since, limit=4):
        assert len(page) <= 4
        pages += page
        since = page[-1].id
    assert [entry.id for entry in pages] == list(range(1, 24))
    assert [entry.share_after_millipct for entry in pages] == [0, 0, 0, *range(1, 21)]
    assert await store.audit(since) == []
    assert pages == await store.audit(0)


async def test_a_reader_misses_nothing_that_is_written_meanwhile(store: Store) -> None:
    async def write(feature: str) -> None:
        flag = None
        for share in range(15):
            flag = await put(store, flag, commands.set_share(flag or replace(NEW, feature=feature), share))

    writing = asyncio.gather(*(write(f"f{number}") for number in range(6)))
    ids: list[int] = []
    while not writing.done():
        ids += [entry.id for entry in await store.audit(ids[-1] if ids else 0, limit=7)]
    while page := await store.audit(ids[-1], limit=7):
        ids += [entry.id for entry in page]
    await writing
    assert ids == list(range(1, 91))


_CHANGES = st.tuples(st.sampled_from("abc"), st.integers(0, BUCKETS), st.integers(-1, 1), st.booleans())


@pytest.fixture
async def empty(store_url: str, request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Callable[[], Store]]:
    """Make empty stores."""
    made: list[Store] = []

    def make() -> Store:
        if store_url.startswith("redis"):
            request.getfixturevalue("shared_redis").command("FLUSHALL")
            made.append(open_store(store_url))
        else:
            made.append(open_store(f"sqlite:///{tmp_path}/{len(made)}.db"))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@given(st.lists(_CHANGES, max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_replaying_the_exported_log_yields_the_state(
    empty: Callable[[], Store], changes: list[tuple[str, int, int, bool]]
) -> None:
    """Also when some writers are stale or late."""
    store = empty()
    lease = await store.acquire_lease("controller", "a", 60.0)
    assert lease is not None
    for feature, share, stale, killed in changes:
        before = await store.get(feature)
        after = replace(before or NEW, feature=feature, share_millipct=share)
        after = commands.kill(after, actor="bob", reason="why", at_s=2.0) if killed else after
        seen = (before.revision if before else 0) + stale
        entry = record_change(before, after, actor="ann", command="change", reason="r", at_s=1.0)
        fencing = lease._replace(token=lease.token + stale)
        with pytest.raises(StaleWriter) if stale else nullcontext():
            await store.put_if_revision(after, max(seen, 0), entry, fencing=fencing)
    lines = [line async for line in export_lines(store, page=3)]
    assert replay(import_lines(lines)) == (await store.load())[1]


async def test_the_position_tells_one_store_from_another(store: Store, store_url: str) -> None:
    nothing = await store.position()
    assert nothing.version == 0
    flag = await put(store, None, NEW)
    first = await store.position()
    assert first.generation > 0
    assert first.version == 1
    await put(store, flag, commands.set_share(flag, 5))
    other = open_store(store_url)
    assert await other.position() == Position(first.generation, 2)
    await other.close()


async def test_a_store_that_lost_data_goes_on_once_that_is_accepted(empty: Callable[[], Store]) -> None:
    lost = empty()
    flag = await put(lost, None, NEW)
    await put(lost, flag, commands.set_share(flag, 50_000))
    known = await lost.position()
    assert await lost.accept_loss(known) is None
    store = empty()
    assert compare(known, await store.position()) is Standing.EMPTIED
    await put(store, None, NEW)
    found = await store.position()
    assert compare(known, found) is Standing.REPLACED
    taken = await store.accept_loss(known)
    assert taken is not None
    assert await store.position() == taken
    assert compare(known, taken) is Standing.FOLLOWS
    assert await store.accept_loss(known) is None
    assert (await store.load())[0] == taken.version
