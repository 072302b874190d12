"""One judge of one worker: takes pairs from its queue, asks in both orders, hands on what was found.

Driven by `turn`, ten times a second; each pair under way is a task. Nothing is asked twice: a question that came to
nothing costs its pair, and is counted by a reason. A breaker keeps a judge that fails from being asked further, pairs
then wait in the queue until they are stale. No request ever waits for any of this.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.breaker import Breaker, BreakerLimits, BreakerState
from gateway.core.judging.prompt import Frozen, Matter, question, version
from gateway.core.judging.request_text import request_text
from gateway.core.judging.score import NO_VERSION, SAME, Judged, Miss, judged
from gateway.core.judging.verdict import read_completion, read_verdict
from gateway.judge_call import MissedError
from gateway.judged_pairs import by_arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.budget import Budget
    from gateway.core.judging.verdict import Winner
    from gateway.core.shadowing import ShadowPair
    from gateway.judge_call import Line
    from gateway.judged_pairs import JudgedPairs
    from gateway.pairs import PairQueue

_log = logging.getLogger(__name__)
BEGUN_AT_ONCE = 2
"""Per turn: reading a request of the largest size takes some milliseconds."""
SETTLED_AT_ONCE = 64
BREAKER = BreakerLimits(consecutive_failures=3, window_s=60.0, requests_min=10, ejected_s=5.0, ejected_max_s=300.0)


class Bounds(NamedTuple):
    """Of one judge in one worker; seconds."""

    concurrent: int
    timeout_s: float
    stale_s: float


class _Opinion(NamedTuple):
    winner: Winner
    model: str


class Judge:
    """`barred` says why a pair may not be shown (any more), None if it may."""

    local = False

    def __init__(
        self,
        frozen: Frozen,
        *,
        line: Line,
        queue: PairQueue,
        bounds: Bounds,
        budget: Budget,
        barred: Callable[[ShadowPair], Miss | None],
        results: JudgedPairs,
    ) -> None:
        self.name = results.judge
        self._frozen, self._line, self._queue, self._bounds, self._budget = frozen, line, queue, bounds, budget
        self._barred, self._results, self._counts, self._clock = barred, results, results.counts, results.clock
        self._breaker = Breaker(BREAKER)
        self._version = NO_VERSION
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> tuple[int, int]:
        """(pairs that wait, pairs under way)."""
        return len(self._queue), len(self._tasks)

    @property
    def state(self) -> BreakerState:
        """Of its breaker."""
        return self._breaker.state

    def take(self, pair: ShadowPair) -> int:
        """Have a pair wait for its turn; how many were lost by it."""
        return self._queue.take(pair)

    def turn(self, now_s: float) -> None:
        """Begin what is due (`now_s`: perf_counter)."""
        self._line.pool.sweep(now_s)
        begun = 0
        for _ in range(SETTLED_AT_ONCE):
            pair = self._queue.oldest
            if pair is None:
                return
            if self._settled_unasked(pair):
                self._queue.pop()
                continue
            if begun == BEGUN_AT_ONCE or len(self._tasks) >= self._bounds.concurrent or not self._may_ask(now_s):
                return
            self._queue.pop()
            begun += self._begin(pair, now_s)

    async def close(self) -> None:
        """Begin nothing more, cut what is under way, forget what waits."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while (pair := self._queue.pop()) is not None:
            self._miss(pair, Miss.DRAINING)
        self._line.pool.close()

    def _settled_unasked(self, pair: ShadowPair) -> bool:
        """Whether no question is needed for this pair, which is settled then."""
        try:
            return self._settle_unasked(pair)
        except Exception:  # noqa: BLE001  it must not be met again and again
            _log.exception("a pair of answers could not be looked at")
            self._miss(pair, Miss.DEFECT)
            return True

    def _settle_unasked(self, pair: ShadowPair) -> bool:
        now_s = self._clock()
        why = Miss.STALE if now_s - pair.at_s > self._bounds.stale_s else self._barred(pair)
        if why is None and self._budget.spent(now_s):
            why = Miss.BUDGET
        if why is not None:
            self._miss(pair, why)
        return why is not None

    def _may_ask(self, now_s: float) -> bool:
        return self._breaker.admits(now_s) and self._budget.take(self._clock())

    def _begin(self, pair: ShadowPair, now_s: float) -> bool:
        """Begin to judge a pair that has been counted by the budget; whether that took time.

        Equal answers need no question, but wait for place, budget and judge as all do, and are asked about where the
        judge is only being tried: else what is scored would depend on the answers, and be ½ more often than it is.
        """
        if _is_same(pair) and self._version != NO_VERSION and self._breaker.state is BreakerState.HEALTHY:
            self._budget.give_back()
            self._score_same(pair)
            return False
        request = request_text(pair.operation, pair.prompt)
        if request is None:
            self._budget.give_back()
            self._miss(pair, Miss.UNREADABLE)
            return True
        candidate, baseline = by_arm(pair)
        work = self._judge(pair, Matter(request, candidate.text, baseline.text), self._breaker.on_sent(now_s))
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_end, pair))
        return True

    def _score_same(self, pair: ShadowPair) -> None:
        try:
            self._results.score(pair, SAME, self._version)
        except Exception:  # noqa: BLE001  one pair is lost, the judge goes on
            _log.exception("a pair of answers could not be judged")
            self._miss(pair, Miss.DEFECT)

    def _on_end(self, pair: ShadowPair, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before its first step
            self._miss(pair, Miss.DRAINING)

    async def _judge(self, pair: ShadowPair, matter: Matter, ticket: int) -> None:
        """Score one pair, or count why not; `ticket`: of the breaker, for the first question."""
        try:
            found, reported = await self._both_orders(pair, matter, ticket)
            self._results.score(pair, SAME if _is_same(pair) else found, self._version_of(reported))
        except MissedError as missed:
            self._miss(pair, missed.reason)
        except Exception:  # noqa: BLE001  one pair is lost, the judge goes on
            _log.exception("a pair of answers could not be judged")
            self._miss(pair, Miss.DEFECT)

    async def _both_orders(self, pair: ShadowPair, matter: Matter, ticket: int) -> tuple[Judged, str]:
        """What both orders say together, and the model that said it. Raises `MissedError`."""
        first, second = pair.candidate_first, not pair.candidate_first
        opinions = {first: await self._ask(pair, matter, ticket, candidate_first=first)}
        now_s = perf_counter()
        if not self._breaker.admits(now_s):
            raise MissedError(Miss.CIRCUIT)
        opinions[second] = await self._ask(pair, matter, self._breaker.on_sent(now_s), candidate_first=second)
        if opinions[first].model != opinions[second].model:
            raise MissedError(Miss.CHANGED)
        return judged(opinions[True].winner, opinions[False].winner), opinions[first].model

    async def _ask(self, pair: ShadowPair, matter: Matter, ticket: int, *, candidate_first: bool) -> _Opinion:
        """One question. The breaker hears how it ended exactly once, whatever happens."""
        began_s = perf_counter()
        passed: bool | None = None
        try:
            body = question(self._frozen, matter, token_hex(16), candidate_first=candidate_first)
            place = "a" if candidate_first == pair.candidate_first else "b"
            reply = await self._line.ask(body, f"{pair.request_id}-judge-{place}", self._bounds.timeout_s)
            opinion = self._opinion(pair.feature, reply)
        except MissedError:
            passed = False
            raise
        else:
            passed = True
            return opinion
        finally:
            self._tell_breaker(ticket, passed=passed)
            self._counts.duration.cell(self.name).observe(perf_counter() - began_s)

    def _opinion(self, feature: str, reply: bytes) -> _Opinion:
        """What a judge's answer says. Raises `MissedError`."""
        said = read_completion(reply)
        if said is None:
            raise MissedError(Miss.NO_COMPLETION)
        for kind, number in (("input", said.tokens.prompt_tokens), ("output", said.tokens.completion_tokens)):
            self._counts.tokens.add((feature, self.name, kind), number)
        winner = read_verdict(said.text)
        if winner is None:
            raise MissedError(Miss.NONSENSE)
        return _Opinion(winner, said.model)

    def _tell_breaker(self, ticket: int, *, passed: bool | None) -> None:
        breaker, now_s, before = self._breaker, perf_counter(), self._breaker.state
        if passed is None:
            breaker.on_released(now_s, ticket)
        elif passed:
            breaker.on_success(now_s, ticket)
        else:
            breaker.on_failure(now_s, ticket)
        if breaker.state is not before and BreakerState.HEALTHY in {breaker.state, before}:
            _log.warning("judge %s is %s", self.name, breaker.state)

    def _version_of(self, reported: str) -> str:
        now, before = version(self._frozen, reported), self._version
        if before not in {now, NO_VERSION}:
            _log.warning("judge %s answers as another model now: evidence from its scores starts afresh", self.name)
        self._version = now
        return now

    def _miss(self, pair: ShadowPair, reason: Miss) -> None:
        self._results.miss(pair, reason, self._version)


def _is_same(pair: ShadowPair) -> bool:
    """Even whatever is said of it: it is shown only to find out who judges."""
    return pair.assigned.text == pair.other.text
