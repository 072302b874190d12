"""Keeps texts of the shadow sample where a flag asks for it: redacted and written by a thread, never by a request.

One worker's. What doesn't fit or can't be written is counted and gone; nothing of a text gets into a log or a metric.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.extra_patterns import finder_of
from gateway.core.keeping import Mark, encode, fits, id_of, texts_of
from gateway.core.redaction import redact
from gateway.core.shadowing import ShadowPair
from gateway.pairs import size_of
from rollout.core.model import Keep

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.score import Lost, Scored, Spared
    from gateway.core.outcome import Record
    from gateway.pairs import PairSink
    from gateway.scores import ScoreSink
    from gateway.settings.spool import SpoolSettings
    from gateway.spool_files import SpoolFiles
    from gateway.tenants import Tenants
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
WAITING_MAX_BYTES = 8 * 1024 * 1024
IDS_MAX = 20_000
"""Kept texts that marks may still come for; about 150 bytes each."""
_MARK_BYTES = 256
_SIZE_EVERY_S = 10.0
_OVERRUN = 1.1
"""The sweep makes room; only where it doesn't, as where nobody sweeps, writing stops at this part of the limit."""
_END_S = 5.0
_NOTHING = Keep()


class _Job(NamedTuple):
    feature: str
    at_s: float
    keep: Keep
    what: ShadowPair | Mark
    bytes: int


class Spool:
    """Takes pairs, scores and ratings in the event loop; `take...` only appends to a queue."""

    def __init__(
        self,
        files: SpoolFiles,
        settings: SpoolSettings,
        snapshot: Callable[[], Snapshot],
        tenants: Tenants,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: Unix time."""
        self._files, self._snapshot, self._tenants, self._clock = files, snapshot, tenants, clock
        self._size_max = settings.size_max_mb * 2**20 * _OVERRUN
        more = [finder_of(name, pattern) for name, pattern in settings.patterns.items()]
        self._redact = partial(redact, more=more)
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._ids: dict[str, None] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        # Each number has one thread that adds to it.
        self._taken_bytes = self._done_bytes = self._refused = self._failed = self._written = 0
        self._size, self._size_at_s = 0, float("-inf")

    @property
    def lost(self) -> int:
        """Pairs and marks that should have been kept and were not."""
        return self._refused + self._failed

    @property
    def written(self) -> int:
        """Pairs and marks that were."""
        return self._written

    def take(self, pair: ShadowPair) -> None:
        """Keep a pair, if its flag and its tenant let it."""
        keep = self._keep(pair.feature)
        if not keep or not self._tenants.of(pair.tenant).keeps:
            return
        if not fits(pair):
            self._refused += 1
        elif self._put(_Job(pair.feature, pair.at_s, keep, pair, size_of(pair))):
            self._ids[id_of(pair.feature, pair.tenant, pair.request_id)] = None
            if len(self._ids) > IDS_MAX:
                del self._ids[next(iter(self._ids))]

    def take_score(self, scored: Scored) -> None:
        """Keep what a judge found of a kept pair."""
        keep = self._keep(scored.feature)
        found = id_of(scored.feature, scored.tenant, scored.request_id)
        if keep.pairs and found in self._ids:
            mark = Mark(found, scored.at_s, "judge", scored.judge, scored.w, scored.judge_version)
            self._put(_Job(scored.feature, scored.at_s, keep, mark, _MARK_BYTES))

    def take_rating(self, answered: Record, kind: str, value: float) -> None:
        """Keep what a caller found of an answer that is kept."""
        keep = self._keep(answered.feature)
        found = id_of(answered.feature, answered.tenant, answered.request_id)
        if keep.answers and found in self._ids:
            now_s = self._clock()
            self._put(_Job(answered.feature, now_s, keep, Mark(found, now_s, "feedback", kind, value), _MARK_BYTES))

    def close(self) -> None:
        """Write what was taken, for a bounded time."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(_END_S)

    def _keep(self, feature: str) -> Keep:
        compiled = self._snapshot().features.get(feature)
        return _NOTHING if compiled is None else compiled.flag.shadow.keep

    def _put(self, job: _Job) -> bool:
        if self._closed or self._taken_bytes - self._done_bytes + job.bytes > WAITING_MAX_BYTES:
            self._refused += 1
            return False
        self._taken_bytes += job.bytes
        self._queue.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
            self._thread.start()
        return True

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._write(job)
                self._written += 1
            except Exception as fault:  # noqa: BLE001  the next one may do; a traceback could tell what was in the text
                if not self._failed:
                    _log.warning("texts cannot be kept: %s", getattr(fault, "strerror", "") or type(fault).__name__)
                self._failed += 1
            self._done_bytes += job.bytes

    def _write(self, job: _Job) -> None:
        what = job.what
        line = texts_of(what, job.keep, self._redact) if isinstance(what, ShadowPair) else what
        if line is None:
            raise _UnreadableError
        data = encode(line)
        self._check_room(len(data))
        self._files.append(job.feature, job.at_s, job.keep.ttl_s, data)

    def _check_room(self, size: int) -> None:
        now_s = time.monotonic()
        if now_s - self._size_at_s > _SIZE_EVERY_S:
            self._size, self._size_at_s = self._files.size_bytes(), now_s
        if self._size + size > self._size_max:
            raise _NoRoomError
        self._size += size


class _UnreadableError(Exception):
    """A request in which nothing can be read."""


class _NoRoomError(Exception):
    """The spool is full, and nobody makes room."""


class PairsKeptToo:
    """A `PairSink`: the spool gets each pair before the one whose pairs they are."""

    def __init__(self, spool: Spool, sink: PairSink) -> None:
        self.spool, self.sink = spool, sink

    def close(self) -> None:
        """Write what was taken."""
        self.spool.close()

    def take(self, pair: ShadowPair) -> int:
        """PairSink: what the spool loses is counted there."""
        self.spool.take(pair)
        return self.sink.take(pair)


class ScoresKeptToo:
    """A `ScoreSink` likewise."""

    def __init__(self, spool: Spool, sink: ScoreSink) -> None:
        self._spool, self._sink = spool, sink

    def take(self, scored: Scored) -> None:
        """ScoreSink."""
        self._spool.take_score(scored)
        self._sink.take(scored)

    def lose(self, lost: Lost) -> None:
        """ScoreSink: the spool keeps no losses."""
        self._sink.lose(lost)

    def spare(self, spared: Spared) -> None:
        """ScoreSink likewise."""
        self._sink.spare(spared)
