"""One JSON line per settled request, written by a thread: a slow disk costs lines, never answers."""

from __future__ import annotations

import logging
import sys
import threading
from queue import Full, Queue
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        self.dropped = 0
        """Lines lost because writing did not keep up, or failed."""
        self._thread.start()

    def take(self, records: Sequence[Record]) -> None:
        """Hand over a batch; called in the event loop, so it only encodes."""
        lines = b"".join([_ENCODE(asdict(record)) + b"\n" for record in records])
        try:
            self._queue.put_nowait(lines)
        except Full:
            self.dropped += len(records)

    def close(self) -> None:
        """Write what was taken, then end."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._append(lines)
            except OSError as error:
                if not self.dropped:
                    _log.warning("the access log cannot be written: %s", error.strerror)
                self.dropped += lines.count(b"\n")

    def _append(self, lines: bytes) -> None:
        """Open for each batch: whoever rotates the file need not tell us."""
        if self._path is None:
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
            return
        with self._path.open("ab", buffering=0) as file:  # whole lines, beside those of the other workers
            file.write(lines)
