"""A judge that is no model: it holds both answers against a reference, in the worker, and sends nothing anywhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.core.breaker import BreakerState
from gateway.core.judging.reference_set import read_references
from gateway.core.judging.references import win
from gateway.core.judging.score import SAME, Judged, Miss, Result
from gateway.judged_pairs import by_arm
from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.reference_set import ReferenceSet
    from gateway.core.shadowing import ShadowPair
    from gateway.judged_pairs import JudgedPairs
    from gateway.pairs import PairQueue
    from gateway.settings.judges import JudgeSettings

_log = logging.getLogger(__name__)
JUDGED_AT_ONCE = 2
"""Per turn: an answer of the largest size takes some milliseconds."""
FILE_MAX_BYTES = 64 * 1024 * 1024
_LINE = (
    'a line is {"prompt": "...", "reference": "..."}; known: prompt, messages, digest, reference, scorer, feature, task'
)
_RESULTS = {1.0: Result.CANDIDATE, 0.0: Result.BASELINE, 0.5: Result.TIE}


class ReferenceJudge:
    """As `Judge`, of one worker."""

    local = True
    state = BreakerState.HEALTHY

    def __init__(
        self,
        references: ReferenceSet,
        *,
        queue: PairQueue,
        stale_s: float,
        barred: Callable[[ShadowPair], Miss | None],
        results: JudgedPairs,
    ) -> None:
        self.name = results.judge
        self._references, self._queue, self._stale_s = references, queue, stale_s
        self._barred, self._results = barred, results

    @property
    def counts(self) -> tuple[int, int]:
        """(pairs that wait, pairs under way)."""
        return len(self._queue), 0

    def take(self, pair: ShadowPair) -> int:
        """Have a pair wait for its turn; how many were lost by it."""
        return self._queue.take(pair)

    def turn(self, now_s: float) -> None:  # noqa: ARG002  as `Judge.turn`
        """Judge what waits, a few at a time."""
        for _ in range(JUDGED_AT_ONCE):
            pair = self._queue.pop()
            if pair is None:
                return
            try:
                self._judge(pair)
            except Exception:  # noqa: BLE001  one pair is lost, the judge goes on
                _log.exception("a pair of answers could not be judged")
                self._miss(pair, Miss.DEFECT)

    async def close(self) -> None:
        """Forget what waits."""
        while (pair := self._queue.pop()) is not None:
            self._miss(pair, Miss.DRAINING)

    def _judge(self, pair: ShadowPair) -> None:
        stale = self._results.clock() - pair.at_s > self._stale_s
        why = Miss.STALE if stale else self._barred(pair)
        reference = None if why is not None else self._references.find(pair.operation, pair.prompt)
        if reference is None:
            self._miss(pair, why or Miss.NO_REFERENCE)
            return
        candidate, baseline = by_arm(pair)
        w = win(reference, candidate.text, baseline.text)
        found = SAME if candidate.text == baseline.text else Judged(_RESULTS[w], w)
        self._results.score(pair, found, self._references.version)

    def _miss(self, pair: ShadowPair, reason: Miss) -> None:
        self._results.miss(pair, reason, self._references.version)


def load_references(name: str, settings: JudgeSettings) -> ReferenceSet:
    """The references of a judge, read anew from its file. Raises `SettingsError`."""
    place = f"judges.{name}.file: {settings.file}"
    try:
        with Path(settings.file or "").open(encoding="utf-8") as file:
            text = file.read(FILE_MAX_BYTES + 1)
        if len(text) > FILE_MAX_BYTES:
            raise SettingsError(f"{place} is too large", f"at most {FILE_MAX_BYTES // 2**20} MiB")
        return read_references(text, settings.scorer)
    except OSError as fault:
        raise SettingsError(f"{place} can't be read: {fault.strerror}", "check the path and its permissions") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{place} is not UTF-8 text", "save it as UTF-8") from None
    except ValueError as fault:
        raise SettingsError(f"{place}: {fault}", _LINE) from None
