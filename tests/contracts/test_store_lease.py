"""What every store must do with leases, fenced writes and the controller's memory."""

import asyncio
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.errors import InvalidArgument, RevisionConflict, StaleWriter
from rollout.core.model import FeatureFlag
from rollout.ports import Lease, Store

NEW = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")
LONG_S, SHORT_S = 60.0, 0.05


async def put(store: Store, before: FeatureFlag | None, share: int, lease: Lease | None = None) -> FeatureFlag:
    after = commands.set_share(before or NEW, share)
    entry = record_change(before, after, actor="ann", command="set-share", reason="r", at_s=1.0)
    return await store.put_if_revision(after, before.revision if before else 0, entry, fencing=lease)


async def held(asked: Awaitable[Lease | None]) -> Lease:
    lease = await asked
    assert lease is not None
    return lease


async def when_lapsed(store: Store, name: str, holder: str) -> Lease:
    deadline_s = time.monotonic() + 60
    while (lease := await store.acquire_lease(name, holder, LONG_S)) is None:
        assert time.monotonic() < deadline_s, "a short lease never lapses"
        await asyncio.sleep(0.005)
    return lease


async def test_one_holds_it_and_others_wait_until_it_is_given_back(store: Store) -> None:
    before_s = time.time()
    mine = await held(store.acquire_lease("controller", "a", LONG_S))
    assert (mine.name, mine.holder) == ("controller", "a")
    assert before_s + LONG_S <= mine.until_s <= time.time() + LONG_S
    assert await store.acquire_lease("controller", "b", LONG_S) is None
    assert await store.acquire_lease("webhooks", "b", LONG_S) is not None
    assert await store.release_lease(mine)
    assert not await store.release_lease(mine)
    theirs = await held(store.acquire_lease("controller", "b", LONG_S))
    assert theirs.token > mine.token
    assert not await store.release_lease(mine)
    assert await store.acquire_lease("controller", "a", LONG_S) is None


async def test_a_lease_lapses_and_is_not_prolonged_after_that(store: Store) -> None:
    mine = await held(store.acquire_lease("controller", "a", SHORT_S))
    theirs = await when_lapsed(store, "controller", "b")
    assert theirs.token > mine.token
    assert await store.renew_lease(mine, LONG_S) is None
    assert await store.release_lease(mine) is False
    assert await store.renew_lease(theirs, LONG_S) is not None


async def test_renewing_keeps_the_token_and_moves_the_end(store: Store) -> None:
    mine = await held(store.acquire_lease("controller", "a", SHORT_S * 4))
    longer = await held(store.renew_lease(mine, LONG_S))
    assert (longer.token, longer.name, longer.holder) == (mine.token, mine.name, mine.holder)
    assert longer.until_s > mine.until_s
    await asyncio.sleep(SHORT_S * 5)
    assert await store.acquire_lease("controller", "b", LONG_S) is None
    assert await store.release_lease(longer)
    assert await store.renew_lease(longer, LONG_S) is None


async def test_a_holder_whose_answer_was_lost_gets_it_again_with_a_new_token(store: Store) -> None:
    lost = await held(store.acquire_lease("controller", "a", LONG_S))
    again = await held(store.acquire_lease("controller", "a", LONG_S))
    assert again.token > lost.token
    assert await store.renew_lease(lost, LONG_S) is None
    assert not await store.release_lease(lost)


async def test_tokens_grow_over_expiry_release_and_restart(store: Store, store_url: str) -> None:
    tokens = []
    for turn in range(12):
        opened = open_store(store_url)
        lease = await when_lapsed(opened, "controller", f"holder {turn}")
        tokens.append(lease.token)
        if turn % 2:
            await opened.release_lease(lease)
        else:
            await opened.renew_lease(lease, SHORT_S / 10)
        await opened.close()
    assert tokens == sorted(set(tokens))


async def test_of_many_askers_one_gets_it(store: Store) -> None:
    got = await asyncio.gather(*(store.acquire_lease("controller", f"h{n}", LONG_S) for n in range(40)))
    assert len([lease for lease in got if lease is not None]) == 1


@pytest.mark.parametrize(
    "ask", [("", "a", 1.0), ("c", "", 1.0), ("c", "a", 0.0), ("c", "a", 1e9), ("c" * 300, "a", 1.0)]
)
async def test_what_cannot_be_a_lease_is_refused(store: Store, ask: tuple[str, str, float]) -> None:
    with pytest.raises(InvalidArgument):
        await store.acquire_lease(*ask)
    lease = await held(store.acquire_lease("controller", "a", LONG_S))
    with pytest.raises(InvalidArgument):
        await store.renew_lease(lease, -1.0)


async def test_a_writer_with_an_older_token_is_refused_whole(store: Store) -> None:
    flag = await put(store, None, 0)
    old = await held(store.acquire_lease("controller", "a", LONG_S))
    flag = await put(store, flag, 1_000, old)
    await store.release_lease(old)
    new = await held(store.acquire_lease("controller", "b", LONG_S))
    before = await store.load(), await store.history("summarize")
    with pytest.raises(StaleWriter) as refused:
        await put(store, flag, 99_000, old)
    assert refused.value.newest == new.token
    with pytest.raises(StaleWriter):
        await put(store, replace(flag, revision=7), 99_000, old)
    assert (await store.load(), await store.history("summarize")) == before
    assert (await put(store, flag, 5_000, new)).share_millipct == 5_000


async def test_a_token_that_was_never_handed_out_is_refused(store: Store) -> None:
    mine = await held(store.acquire_lease("controller", "a", LONG_S))
    for token in (0, mine.token - 1, mine.token + 1):
        with pytest.raises(StaleWriter):
            await put(store, None, 0, mine._replace(token=token))
    with pytest.raises(StaleWriter):
        await put(store, None, 0, mine._replace(name="webhooks"))
    assert (await put(store, None, 0, mine)).revision == 1


async def test_a_lapsed_lease_that_nobody_took_still_writes(store: Store) -> None:
    mine = await held(store.acquire_lease("controller", "a", 0.001))
    await asyncio.sleep(SHORT_S)
    assert (await put(store, None, 0, mine)).revision == 1


async def test_the_newest_token_is_no_licence_to_overwrite(store: Store) -> None:
    mine = await held(store.acquire_lease("controller", "a", LONG_S))
    read = await put(store, None, 0)
    operators = await put(store, read, 7_000)
    with pytest.raises(RevisionConflict) as conflict:
        await put(store, read, 50_000, mine)
    assert conflict.value.current == operators


async def test_operators_write_without_a_token(store: Store) -> None:
    await store.acquire_lease("controller", "a", LONG_S)
    assert (await put(store, None, 500)).share_millipct == 500


async def test_memory_is_kept_for_the_revision_there_is_and_bumps_nothing(store: Store, store_url: str) -> None:
    mine = await held(store.acquire_lease("controller", "a", LONG_S))
    flag = await put(store, None, 0)
    assert await store.get_memory("summarize") is None
    for memory in (b"", b"a|b\x00\xff", b"x" * 50_000):
        await store.put_memory("summarize", 1, memory, fencing=mine)
        other = open_store(store_url)
        assert await other.get_memory("summarize") == (1, memory)
        await other.close()
    assert (await store.version(), await store.get("summarize")) == (1, flag)
    flag = await put(store, flag, 1_000)
    assert await store.get_memory("summarize") == (1, b"x" * 50_000)
    with pytest.raises(RevisionConflict) as conflict:
        await store.put_memory("summarize", 1, b"late")
    assert conflict.value.current == flag
    await store.put_memory("summarize", 2, b"new")
    assert await store.get_memory("summarize") == (2, b"new")


async def test_memory_of_a_stale_controller_or_of_no_feature_is_refused(store: Store) -> None:
    old = await held(store.acquire_lease("controller", "a", LONG_S))
    await put(store, None, 0, old)
    await store.acquire_lease("controller", "a", LONG_S)
    with pytest.raises(StaleWriter):
        await store.put_memory("summarize", 1, b"x", fencing=old)
    with pytest.raises(RevisionConflict) as conflict:
        await store.put_memory("unknown", 1, b"x")
    assert conflict.value.current is None
    with pytest.raises(InvalidArgument):
        await store.put_memory("summarize", 1, b"x" * 300_000)
    assert await store.get_memory("summarize") is None


_CONTROLLER = """
import asyncio, sys
from rollout.adapters import open_store
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.errors import RevisionConflict, StaleWriter

async def main(url, name):
    store, done, refused = open_store(url), 0, 0
    while True:
        lease = await store.acquire_lease("controller", name, 0.02)
        if lease is None:
            await asyncio.sleep(0.002)
            continue
        while True:
            flag = await store.get("summarize")
            if flag.share_millipct >= 60:
                await store.close()
                return
            after = commands.set_share(flag, flag.share_millipct + 1)
            entry = record_change(flag, after, actor=f"{name} {lease.token}", command="advance", reason="r", at_s=1.0)
            try:
                await store.put_if_revision(after, flag.revision, entry, fencing=lease)
            except (RevisionConflict, StaleWriter):
                break

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.system
async def test_controllers_that_lapse_all_the_time_make_each_step_once(store: Store, store_url: str) -> None:
    """Nobody renews here: a lease lapses every few writes, and the next holder's token shuts the last one out."""

    async def controller(name: str) -> int | None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _CONTROLLER, store_url, name)
        return await asyncio.wait_for(process.wait(), 60)

    await put(store, None, 0)
    assert await asyncio.gather(*(controller(name) for name in "abc")) == [0, 0, 0]
    entries = [entry for entry in await store.audit(limit=500) if entry.command == "advance"]
    assert [entry.share_after_millipct for entry in entries] == list(range(1, 61))
    tokens = [int(entry.actor.split()[1]) for entry in entries]
    assert tokens == sorted(tokens)


async def test_a_clock_set_back_ends_a_lease_instead_of_prolonging_it(tmp_path: Path) -> None:
    at_s = [5_000.0]
    store = open_store(f"sqlite:///{tmp_path}/store.db", lambda: at_s[0])
    mine = await held(store.acquire_lease("controller", "a", 10.0))
    assert mine.until_s == 5_010.0
    at_s[0] = 1_000.0
    theirs = await held(store.acquire_lease("controller", "b", 10.0))
    assert theirs.token == mine.token + 1
    at_s[0] = 1_009.9
    assert await store.acquire_lease("controller", "a", 10.0) is None
    at_s[0] = 1_010.0
    assert await store.renew_lease(theirs, 10.0) is None
    assert await store.acquire_lease("controller", "a", 10.0) is not None
    await store.close()
