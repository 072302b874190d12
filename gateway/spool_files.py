"""The files of kept texts: one for each feature and hour, of which whole ones are deleted when their time is up.

A name is a digest of the feature, the hour, and the hour after which it must be gone, so nothing that anybody chose is
in it. All methods block: they are for threads.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.keeping import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway.core.keeping import Line

SPOOL_FOLDER, EXPORT_LOG = "spool", "exports.jsonl"
"""Under the state folder: the files, and who exported what."""
HOUR_S = 3_600
_SUFFIX = ".jsonl"
_DIGEST_BYTES = 8


class SpoolFile(NamedTuple):
    """One file by its name. `hour`, `ends`: Unix time in hours."""

    path: Path
    feature: str
    hour: int
    ends: int


class SpoolFiles:
    """One folder of them, that of one replica."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, feature: str, at_s: float, ttl_s: float, data: bytes) -> None:
        """Add whole lines, all or nothing; raises OSError. Several processes may do so at the same time.

        What a process left half written when it was killed stays a line of its own, a damaged one.
        """
        hour = int(at_s // HOUR_S)
        ends = int((hour * HOUR_S + ttl_s) // HOUR_S)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{_digest(feature)}-{hour}-{ends}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            whole = not size or os.pread(descriptor, 1, size - 1) == b"\n"
            try:
                _write_all(descriptor, data if whole else b"\n" + data)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def read(self, feature: str, since_s: float = 0.0, *, newest_first: bool = False) -> Iterator[Line]:
        """What is kept of a feature, a line at a time; damaged lines and files that go meanwhile are left out.

        `since_s`: Unix time. The order is that of the hours; within one it is that of writing.
        """
        for each in sorted(self.files(feature), key=lambda file: file.hour, reverse=newest_first):
            if (each.hour + 1) * HOUR_S <= since_s:
                continue
            try:
                with each.path.open("rb") as file:
                    for raw in file:
                        line = decode(raw)
                        if line is not None and line.at_s >= since_s:
                            yield line
            except FileNotFoundError:
                continue

    def files(self, feature: str | None = None) -> list[SpoolFile]:
        """All files there are, or those of one feature."""
        try:
            found = [_named(path) for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        wanted = None if feature is None else _digest(feature)
        return [each for each in found if each is not None and wanted in {None, each.feature}]

    def size_bytes(self) -> int:
        """Of all files."""
        return sum(_size(each.path) for each in self.files())

    def sweep(self, now_s: float, ttls_s: Mapping[str, float], size_max: int) -> int:
        """Delete what is over its time, then the oldest until the rest fits; how many files.

        `ttls_s`: by feature, as the flags say now: they may only shorten what was said when a file was begun.
        """
        ttls = {_digest(feature): ttl_s for feature, ttl_s in ttls_s.items()}
        deleted, left = 0, []
        for each in self.files():
            ends_s = min(each.ends * HOUR_S, each.hour * HOUR_S + ttls.get(each.feature, float("inf")))
            if ends_s <= now_s:
                each.path.unlink(missing_ok=True)
                deleted += 1
            else:
                left.append((each.hour, _size(each.path), each.path))
        size = sum(size for _, size, _ in left)
        for _, freed, path in sorted(left):
            if size <= size_max:
                break
            path.unlink(missing_ok=True)
            deleted += 1
            size -= freed
        return deleted


def _digest(feature: str) -> str:
    return blake2b(feature.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _named(path: Path) -> SpoolFile | None:
    """None for what is no file of ours."""
    feature, _, times = path.name.removesuffix(_SUFFIX).partition("-")
    hour, _, ends = times.partition("-")
    if not (path.name.endswith(_SUFFIX) and hour.isdecimal() and ends.isdecimal()):
        return None
    return SpoolFile(path, feature, int(hour), int(ends))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
