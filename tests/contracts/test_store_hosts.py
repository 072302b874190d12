"""The embedded store is for one host: what a second one looks like, and that it is refused."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.adapters.sqlite_host import refuse_network_file_system
from rollout.core.audit import record_change
from rollout.core.errors import StoreUnavailable
from rollout.core.model import FeatureFlag

FLAG = FeatureFlag(feature="f", candidate="a", baseline="b")


@pytest.fixture(autouse=True)
def patient_store() -> None:
    """Here the bounds are the product's."""


@pytest.fixture
def at_s() -> list[float]:
    return [1_000.0]


@pytest.fixture
async def on(tmp_path: Path, at_s: list[float]) -> AsyncIterator[Callable[[str], SqliteStore]]:
    """Open one file as a process of the host named."""
    opened: list[SqliteStore] = []

    def open_on(host: str) -> SqliteStore:
        opened.append(SqliteStore(tmp_path / "store.db", lambda: at_s[0], host))
        return opened[-1]

    yield open_on
    for store in opened:
        await store.close()


async def test_processes_of_one_host_share_a_file(on: Callable[[str], SqliteStore]) -> None:
    for _ in range(3):
        assert await on("one").version() == 0


async def test_a_second_host_is_refused_while_the_first_is_there(
    on: Callable[[str], SqliteStore], at_s: list[float]
) -> None:
    first, second = on("one"), on("two")
    assert await first.version() == 0
    with pytest.raises(StoreUnavailable, match="another host uses it") as refused:
        await second.version()
    assert "redis://" in refused.value.hint
    at_s[0] += 12
    assert await first.version() == 0  # still there
    at_s[0] += 12
    with pytest.raises(StoreUnavailable):
        await second.version()


async def test_the_first_host_is_refused_when_the_second_took_over(
    on: Callable[[str], SqliteStore], at_s: list[float]
) -> None:
    first, second = on("one"), on("two")
    assert await first.version() == 0
    at_s[0] += 20  # silent for so long: it is taken for gone
    assert await second.version() == 0
    with pytest.raises(StoreUnavailable):
        await first.version()


async def test_a_host_that_left_makes_room_at_once(on: Callable[[str], SqliteStore]) -> None:
    first = on("one")
    assert await first.version() == 0
    await first.close()
    assert await on("two").version() == 0


async def test_a_clock_set_back_locks_nobody_out(on: Callable[[str], SqliteStore], at_s: list[float]) -> None:
    await on("one").version()
    at_s[0] = 100.0
    assert await on("two").version() == 0


async def test_a_locked_file_hides_nobody_and_blocks_nobody(
    on: Callable[[str], SqliteStore], tmp_path: Path, at_s: list[float]
) -> None:
    store = on("one")
    await store.version()
    at_s[0] += 6
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert await store.version() == 0
        holder.execute("ROLLBACK")
    assert await store.version() == 0
    with pytest.raises(StoreUnavailable):
        await on("two").version()


MOUNTS = """
22 1 0:20 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/shared\\040files rw shared:1 - nfs4 server:/export rw
31 30 0:41 / /mnt/shared\\040files/local rw - ext4 /dev/sdb1 rw
32 22 0:42 / /mnt/over rw - ext4 /dev/sdc1 rw
33 22 0:43 / /mnt/over rw - cifs //server/share rw
damaged line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/store.db", None),
        ("/mnt/shared files/store.db", "nfs4"),
        ("/mnt/shared files/deep/er/store.db", "nfs4"),
        ("/mnt/shared files/local/store.db", None),
        ("/mnt/over/store.db", "cifs"),
        ("/mnt/overlooked/store.db", None),
    ],
)
def test_a_network_file_system_is_refused(tmp_path: Path, path: str, kind: str | None) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    if kind is None:
        refuse_network_file_system(Path(path), tmp_path / "mounts")
        return
    with pytest.raises(sqlite3.DatabaseError, match=rf"network file system \({kind}\)"):
        refuse_network_file_system(Path(path), tmp_path / "mounts")


def test_without_a_list_of_mounts_nothing_is_refused(tmp_path: Path) -> None:
    refuse_network_file_system(Path("/mnt/store.db"), tmp_path / "none")


@pytest.mark.parametrize("statement", ["UPDATE audit SET entry = ''", "DELETE FROM audit"])
async def test_the_audit_log_refuses_changes_also_from_outside(tmp_path: Path, statement: str) -> None:
    store = SqliteStore(tmp_path / "store.db")
    entry = record_change(None, FLAG, actor="ann", command="create", reason="r", at_s=1.0)
    await store.put_if_revision(FLAG, 0, entry)
    with (
        closing(sqlite3.connect(tmp_path / "store.db")) as db,
        pytest.raises(sqlite3.DatabaseError, match="append-only"),
    ):
        db.execute(statement)
    assert len(await store.audit()) == 1
    await store.close()
