"""What every store must do. One suite, run against SQLite and a real Redis."""

import asyncio
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.core import commands
from rollout.core.audit import AuditEntry, record_change, replay
from rollout.core.errors import RevisionConflict
from rollout.core.model import FeatureFlag, Holdout
from rollout.ports import Store

NEW = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", owner="Zoë 😀", holdout=Holdout(2_000))
Change = Callable[[FeatureFlag], FeatureFlag]


async def put(store: Store, before: FeatureFlag | None, after: FeatureFlag, command: str = "change") -> FeatureFlag:
    entry = record_change(before, after, actor="ann", command=command, reason="a 'reason' | with\nall", at_s=2.5)
    return await store.put_if_revision(after, 0 if before is None else before.revision, entry)


async def test_an_empty_store_is_version_0(store: Store) -> None:
    assert await store.load() == (0, {})
    assert await store.version() == 0
    assert await store.get("summarize") is None
    assert await store.history("summarize") == []
    assert await store.load_keys() == (0, [])
    assert await store.key_history() == []


async def test_a_flag_is_written_whole_and_read_back(store: Store, store_url: str) -> None:
    written = await put(store, None, NEW, "create")
    assert written == replace(NEW, revision=1)
    assert await store.get("summarize") == written
    assert await store.load() == (1, {"summarize": written})
    other = open_store(store_url)
    assert await other.load() == (1, {"summarize": written})
    await other.close()


async def test_every_change_grows_revision_and_version(store: Store) -> None:
    flag = await put(store, None, NEW)
    other = await put(store, None, replace(NEW, feature="draft"))
    assert (flag.revision, other.revision, await store.version()) == (1, 1, 2)
    flag = await put(store, flag, commands.set_share(flag, 5_000))
    assert (flag.revision, flag.share_millipct, await store.version()) == (2, 5_000, 3)
    assert set((await store.load())[1]) == {"summarize", "draft"}


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_a_stale_revision_is_refused_with_the_current_state(store: Store, expected: int) -> None:
    flag = await put(store, None, NEW)
    flag = await put(store, flag, commands.set_share(flag, 5_000))
    entry = record_change(flag, flag, actor="bob", command="late", reason="r", at_s=3.0)
    with pytest.raises(RevisionConflict) as conflict:
        await store.put_if_revision(commands.set_share(flag, 90_000), expected, entry)
    assert conflict.value.current == flag
    assert await store.load() == (2, {"summarize": flag})
    assert [entry.command for entry in await store.history("summarize")] == ["change", "change"]


async def test_a_flag_that_does_not_exist_conflicts(store: Store) -> None:
    entry = record_change(NEW, NEW, actor="bob", command="late", reason="r", at_s=3.0)
    with pytest.raises(RevisionConflict) as conflict:
        await store.put_if_revision(NEW, 7, entry)
    assert conflict.value.current is None
    assert await store.version() == 0


async def test_of_100_concurrent_edits_of_one_revision_exactly_one_wins(store: Store) -> None:
    flag = await put(store, None, NEW)
    edits = [put(store, flag, commands.set_share(flag, share)) for share in range(1, 101)]
    results = await asyncio.gather(*edits, return_exceptions=True)
    won = [result for result in results if isinstance(result, FeatureFlag)]
    lost = [result for result in results if isinstance(result, RevisionConflict)]
    assert (len(won), len(lost)) == (1, 99)
    assert await store.load() == (2, {"summarize": won[0]})
    assert {conflict.current for conflict in lost} == {won[0]}
    assert len(await store.history("summarize")) == 2


async def run_python(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments)
    return await asyncio.wait_for(process.wait(), 60)


_WRITER = """
import asyncio, sys
from rollout.adapters import open_store
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.errors import RevisionConflict

async def main(url, name, count):
    store = open_store(url)
    done = 0
    while done < count:
        flag = await store.get("summarize")
        after = commands.set_share(flag, flag.share_millipct + 1)
        entry = record_change(flag, after, actor=name, command="set-share", reason="r", at_s=1.0)
        try:
            await store.put_if_revision(after, flag.revision, entry)
            done += 1
        except RevisionConflict:
            pass
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.system
async def test_two_processes_lose_no_change(store: Store, store_url: str) -> None:
    await put(store, None, NEW)
    writers = [run_python(_WRITER, store_url, name, "50") for name in ("one", "two")]
    assert await asyncio.gather(*writers) == [0, 0]
    version, flags = await store.load()
    assert (version, flags["summarize"].share_millipct, flags["summarize"].revision) == (101, 100, 101)
    history = await store.history("summarize", limit=500)
    assert {entry.actor for entry in history} == {"ann", "one", "two"}
    assert [entry.revision_after for entry in history] == list(range(101, 0, -1))


@pytest.mark.system
async def test_two_processes_may_make_the_store_at_once(store_url: str) -> None:
    opener = (
        "import asyncio, sys\nfrom rollout.adapters import open_store\n"
        "async def main():\n    s = open_store(sys.argv[1]); await s.load(); await s.close()\nasyncio.run(main())"
    )
    assert await asyncio.gather(*(run_python(opener, store_url) for _ in range(4))) == [0] * 4


async def test_history_is_newest_first_and_pages(store: Store) -> None:
    flag = await put(store, None, NEW)
    await put(store, None, replace(NEW, feature="draft"))
    for share in range(1, 10):
        flag = await put(store, flag, commands.set_share(flag, share))
    first = await store.history("summarize", limit=4)
    second = await store.history("summarize", limit=4, before_id=first[-1].id)
    rest = await store.history("summarize", limit=4, before_id=second[-1].id)
    assert [entry.share_after_millipct for entry in first + second + rest] == [*range(9, 0, -1), 0]
    ids = [entry.id for entry in first + second + rest]
    assert ids == sorted(set(ids), reverse=True)
    assert ids[0] == await store.version()
    assert await store.history("summarize", limit=4, before_id=ids[-1]) == []


async def test_an_entry_is_stored_as_given(store: Store) -> None:
    await put(store, None, NEW, "create")
    (entry,) = await store.history("summarize")
    wanted = record_change(None, NEW, actor="ann", command="create", reason="a 'reason' | with\nall", at_s=2.5)
    assert entry == replace(wanted, id=1)
    assert isinstance(entry, AuditEntry)


async def test_replaying_the_audit_log_yields_the_state(store: Store) -> None:
    changes: list[Change] = [
        lambda flag: commands.set_share(flag, 25_000),
        lambda flag: commands.kill(flag, actor="bob", reason="errors", at_s=9.25),
        lambda flag: commands.set_share(flag, 10_000),
        commands.unkill,
        lambda flag: commands.rename_upstreams(flag, "inhouse-2", "partner"),
        lambda flag: commands.set_share(flag, 10_000),
    ]
    for feature in ("summarize", "draft"):
        flag = await put(store, None, replace(NEW, feature=feature))
        for change in changes:
            flag = await put(store, flag, change(flag))
    entries = [*await store.history("draft"), *await store.history("summarize")]
    assert replay(reversed(entries)) == (await store.load())[1]


async def test_closing_twice_is_harmless_and_keeps_the_data(store: Store, store_url: str) -> None:
    await put(store, None, NEW)
    await store.close()
    await store.close()
    again = open_store(store_url)
    assert await again.version() == 1
    await again.close()


async def test_a_cancelled_write_is_whole_or_absent(store: Store) -> None:
    flag = await put(store, None, NEW)
    write = asyncio.ensure_future(put(store, flag, commands.set_share(flag, 7_000)))
    await asyncio.sleep(0)
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    version, flags = await store.load()
    history = await store.history("summarize")
    assert version == flags["summarize"].revision == len(history)
    assert history[0].share_after_millipct == flags["summarize"].share_millipct


async def test_a_cancellation_that_comes_as_the_work_ends_is_not_lost(store: Store) -> None:
    async def ask_for_ever() -> None:
        while True:
            await store.version()

    for turn in range(200):
        asking = asyncio.create_task(ask_for_ever())
        await asyncio.sleep(turn % 10 * 0.0001)
        asking.cancel()
        assert await asyncio.wait([asking], timeout=60) == ({asking}, set())
        assert asking.cancelled()
