"""The judges of one worker: each pair goes to the one that its feature's flag names, in a queue of its own.

So a judge that is down holds up nobody else's pairs.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.core.judging.budget import Budget
from gateway.core.judging.prompt import RUBRIC, Frozen
from gateway.core.judging.score import Miss
from gateway.judge import Bounds, Judge
from gateway.judge_call import open_line
from gateway.judged_pairs import JudgedPairs
from gateway.loop import repeat
from gateway.pairs import QUEUE_MAX_BYTES, PairQueue
from gateway.reference_judge import ReferenceJudge, load_references
from gateway.settings.file import judge_proxy
from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.admission.leasing import Leasing
    from gateway.core.shadowing import ShadowPair
    from gateway.metrics import JudgeCounts
    from gateway.scores import ScoreSink
    from gateway.settings import Settings
    from gateway.settings.judges import JudgeSettings
    from gateway.tenants import Tenants
    from rollout.core.model import FeatureFlag, Snapshot

EVERY_S = 0.1
RUBRIC_MAX_CHARS = 16_384
_NO_JUDGE = ""
NO_CREDENTIALS: Mapping[str, str | None] = MappingProxyType({})
AnyJudge = Judge | ReferenceJudge


class Judges:
    """A `PairSink`. Its `take` only appends to a queue."""

    def __init__(
        self, judges: Mapping[str, AnyJudge], snapshot: Callable[[], Snapshot], tenants: Tenants, counts: JudgeCounts
    ) -> None:
        self.judges = judges
        self._snapshot, self._tenants, self._counts = snapshot, tenants, counts
        self._closed = False

    def take(self, pair: ShadowPair) -> int:
        """PairSink. A pair whose feature names no judge is nobody's, and not counted."""
        flag = self._flag(pair.feature)
        wanted = _NO_JUDGE if flag is None else flag.shadow.judge
        if self._closed:
            self._counts.missed.add((pair.feature, wanted, Miss.DRAINING))
        elif wanted in self.judges:
            return self.judges[wanted].take(pair)
        elif wanted != _NO_JUDGE:
            self._counts.missed.add((pair.feature, wanted, Miss.UNKNOWN_JUDGE))
        return 0

    def barred(self, judge: str, pair: ShadowPair) -> Miss | None:
        """Why this judge may not be shown the pair (any more): it is somebody else's data, or nobody's matter."""
        flag = self._flag(pair.feature)
        if flag is None or not flag.in_operation or flag.shadow.judge != judge:
            return Miss.WITHDRAWN
        if {pair.assigned.upstream, pair.other.upstream} != {flag.candidate, flag.baseline}:
            return Miss.WITHDRAWN
        allowed = self._tenants.of(pair.tenant).judges
        return None if allowed is None or judge in allowed or self.judges[judge].local else Miss.RESIDENCY

    async def run(self) -> None:
        """Look after all of them until cancelled."""
        await repeat(EVERY_S, self.turn)

    async def turn(self) -> None:
        """Begin what is due."""
        now_s = perf_counter()
        for judge in self.judges.values():
            judge.turn(now_s)

    async def close(self) -> None:
        """End all that is under way."""
        self._closed = True
        await asyncio.gather(*(judge.close() for judge in self.judges.values()))

    def _flag(self, feature: str) -> FeatureFlag | None:
        compiled = self._snapshot().features.get(feature)
        return None if compiled is None else compiled.flag


def build_judges(
    settings: Settings,
    api_keys: Mapping[str, str | None],
    *,
    snapshot: Callable[[], Snapshot],
    tenants: Tenants,
    leasing: Leasing,
    sink: ScoreSink,
    counts: JudgeCounts,
    proxy_credentials: Mapping[str, str | None] = NO_CREDENTIALS,
    clock: Callable[[], float] = time.time,
) -> Judges:
    """Make the judges that the configuration has; connects to nobody. Raises `SettingsError` for unusable files.

    `api_keys`: by judge; `proxy_credentials`: by `judge_proxy` of it. `clock`: Unix time.
    """
    made: dict[str, AnyJudge] = {}
    judges = Judges(made, snapshot, tenants, counts)
    for name, each in settings.judges.items():
        queue = PairQueue(bytes_max=QUEUE_MAX_BYTES // len(settings.judges))
        barred, results = partial(judges.barred, name), JudgedPairs(name, sink, counts, clock)
        if each.kind == "references":
            references = load_references(name, each)
            made[name] = ReferenceJudge(references, queue=queue, stale_s=each.stale_s, barred=barred, results=results)
            continue
        made[name] = Judge(
            frozen_of(name, each),
            line=open_line(name, each, api_keys.get(name), proxy_credentials.get(judge_proxy(name))),
            queue=queue,
            bounds=Bounds(each.concurrent, each.timeout_s, each.stale_s),
            budget=Budget(name, each.pairs_per_day, leasing),
            barred=barred,
            results=results,
        )
    return judges


def read_rubric(name: str, settings: JudgeSettings) -> str:
    """The rubric of a judge, read anew from its file. Raises `SettingsError`."""
    if settings.rubric_file is None:
        return settings.rubric or RUBRIC
    place = f"judges.{name}.rubric_file: {settings.rubric_file}"
    try:
        with Path(settings.rubric_file).open(encoding="utf-8") as file:
            text = file.read(RUBRIC_MAX_CHARS + 1)
    except OSError as fault:
        raise SettingsError(f"{place} can't be read: {fault.strerror}", "check the path and its permissions") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{place} is not UTF-8 text", "save it as UTF-8") from None
    if not text.strip() or len(text) > RUBRIC_MAX_CHARS:
        raise SettingsError(f"{place} is empty or too long", f"say it in {RUBRIC_MAX_CHARS} characters")
    return text


def frozen_of(name: str, settings: JudgeSettings) -> Frozen:
    """What a judge's scores depend on. Raises `SettingsError` for a rubric that can't be read."""
    return Frozen(
        settings.model,
        read_rubric(name, settings),
        settings.parameters,
        settings.request_max_chars,
        settings.answer_max_chars,
    )
