"""One host only: SQLite's write-ahead log lives in memory that the processes of one kernel share.

Two signs of a second host are looked for, and the store refuses to work when it sees one: the file lies on a network
file system; or another kernel has shown itself in the file within the last seconds. Neither can find every misuse (a
replica whose file is a copy of its own sees nothing of the others): with several replicas use Redis.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rollout.adapters.sqlite_schema import BUSY_S, transaction

_SHOW_EVERY_S = 5.0
_GONE_AFTER_S = 15.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "gpfs", "beegfs", "afs", "ocfs2", "gfs2",
    "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs",
})  # fmt: skip


class Presence:
    """Shows this host in the file every few seconds and refuses when another one does."""

    def __init__(self, host: str | None, clock: Callable[[], float]) -> None:
        self._host, self._clock = host or _host(), clock
        self._shown_at_s: float | None = None

    def show(self, db: sqlite3.Connection) -> None:
        """sqlite3.DatabaseError when another host has shown itself and not withdrawn within the last 15 s."""
        now_s = self._clock()
        if self._shown_at_s is not None and 0 <= now_s - self._shown_at_s < _SHOW_EVERY_S:
            return
        query = "SELECT host FROM hosts WHERE host != ? AND seen_at_s > ? AND seen_at_s <= ?"
        other = db.execute(query, (self._host, now_s - _GONE_AFTER_S, now_s + _GONE_AFTER_S)).fetchone()
        if other:
            raise sqlite3.DatabaseError(f"another host uses it ({other[0]}, this is {self._host})")
        with suppress(sqlite3.OperationalError):  # somebody writes, or the disk is full: the next call shows it
            db.execute("PRAGMA busy_timeout = 0")
            try:
                with transaction(db):
                    db.execute("DELETE FROM hosts WHERE seen_at_s <= ?", (now_s - _GONE_AFTER_S,))
                    db.execute("INSERT OR REPLACE INTO hosts VALUES (?, ?)", (self._host, now_s))
                self._shown_at_s = now_s
            finally:
                db.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1_000)}")

    def withdraw(self, db: sqlite3.Connection) -> None:
        """Leave at once to whichever host comes next; other processes of this one show themselves again."""
        if self._shown_at_s is not None:
            db.execute("DELETE FROM hosts WHERE host = ?", (self._host,))


def refuse_network_file_system(path: Path, mounts: Path = _MOUNTS) -> None:
    """sqlite3.DatabaseError when the file lies on one of the known kinds; `mounts`: as /proc/self/mountinfo."""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:  # no Linux: not known
        return
    found = _kind_of(path.absolute().parent.resolve(), lines)
    if found in _NETWORK:
        raise sqlite3.DatabaseError(f"it lies on a network file system ({found})")


def _kind_of(folder: Path, lines: list[str]) -> str:
    """The file system of the longest mount point above the folder; of several at one place the last."""
    best, kind = -1, ""
    for line in lines:
        place, _, described = line.partition(" - ")
        fields = place.split()
        if len(fields) < 5 or not described:  # noqa: PLR2004  the mount point is the fifth
            continue
        point = Path(fields[4].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), described.split()[0]
    return kind


def _host() -> str:
    """What all containers of one kernel have in common and no other kernel has."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return "this host"
