"""One JSON line per settled request, written by a thread: a slow disk costs lines, never answers."""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
from queue import Full, Queue
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.core.outcome import Record

_log = logging.getLogger(__name__)
BATCHES_MAX = 1_024
_ENCODE = msgspec.json.Encoder().encode


class AccessLog:
    """Takes batches of Records. `path`: file to append to, None for standard output."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._queue: Queue[bytes | None] = Queue(BATCHES_MAX)
        self._thread = threading.Thread(target=self._write, name="access-log", daemon=True)
        # Two numbers, as each has one thread that adds to it.
        self._refused = self._failed = 0
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost because writing did not keep up, or failed."""
        return self._refused + self._failed

    def take(self, records: Sequence[Record]) -> None:
        """Hand over a batch; called in the event loop, so it only encodes."""
        lines = b"".join([_ENCODE(asdict(record)) + b"\n" for record in records])
        try:
            self._queue.put_nowait(lines)
        except Full:
            self._refused += len(records)

    def close(self) -> None:
        """Write what was taken, then end."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._append(lines)
            except OSError as error:
                if not self._failed:
                    _log.warning("the access log cannot be written: %s", error.strerror)
                self._failed += lines.count(b"\n")

    def _append(self, lines: bytes) -> None:
        """Open for each batch: whoever rotates the file need not tell us."""
        if self._path is None:
            for piece in pieces(lines):
                _write_all(sys.stdout.fileno(), piece)
            return
        with self._path.open("ab", buffering=0) as file:  # in one go, beside the lines of the other workers
            _write_all(file.fileno(), lines)


def pieces(lines: bytes, piece_max: int = select.PIPE_BUF) -> Iterator[bytes]:
    """Cut into whole lines that a pipe takes in one go, so that no other worker's line gets in between."""
    begin = 0
    while len(lines) - begin > piece_max:
        end = lines.rfind(b"\n", begin, begin + piece_max) + 1 or lines.find(b"\n", begin) + 1
        yield lines[begin:end]
        begin = end
    if begin < len(lines):
        yield lines[begin:]


def _write_all(descriptor: int, data: bytes) -> None:
    """A full disk may take a part before it refuses the rest."""
    while data:
        data = data[os.write(descriptor, data) :]
