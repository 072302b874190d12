"""Shadow calls of one worker: after an answer has left, the other arm gets a copy of its request, for a judge.

Driven by the sweep, ten times a second, so that an answer's own turn of the loop only copies what passes. What doesn't
fit, isn't allowed, or comes too late is counted and forgotten. Bounds: `HELD_MAX_BYTES` of memory, `WAITING_MAX`
requests that wait `WAIT_MAX_S` at most, `CALLS_MAX` calls; the feature's own limits hold over the fleet
(`gateway.core.shadow_allowance`).
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from gateway.core.breaker import BreakerState
from gateway.core.errors import ApiError
from gateway.core.shadow_allowance import Allowance
from gateway.core.shadowing import (
    NO_ANSWER,
    PASSING,
    Answered,
    CallEnd,
    ShadowPair,
    Skip,
    Surroundings,
    barred,
    candidate_is_first,
    other_arm,
    unfit,
    upstream_of,
)
from gateway.delivery import deliver, is_event_stream
from gateway.pairs import NoJudge, nobody
from gateway.shadow_call import ShadowCall
from gateway.shadow_sample import Room, Sample
from rollout.core.evaluate import in_shadow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.attempt import Attempt
    from gateway.core.admission.leasing import Leasing
    from gateway.core.call import Call
    from gateway.core.providers.wires import Wire
    from gateway.core.routing import Plan
    from gateway.delivery import Delivery, Owner
    from gateway.door import Door
    from gateway.metrics import Metrics
    from gateway.pairs import CallSink, PairSink
    from gateway.upstream import Endpoint, Upstream
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
HELD_MAX_BYTES = 32 * 1024 * 1024
WAITING_MAX = 64
WAIT_MAX_S = 5.0
CALLS_MAX = 32
BEGUN_AT_ONCE = 4
"""Per sweep: reading an answer of the largest size takes some ten milliseconds."""
_FOUND_LATE = frozenset({Skip.UNREADABLE, Skip.UNSUPPORTED})
_NOBODY: frozenset[str] = frozenset()


class Shadows:
    """Samples answers, makes the calls, hands over the pairs."""

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        upstreams: Mapping[str, Upstream],
        door: Door,
        metrics: Metrics,
        sink: PairSink | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: Unix time."""
        self._snapshot, self._upstreams, self._door, self._metrics = snapshot, upstreams, door, metrics
        self.sink: PairSink = NoJudge() if sink is None else sink
        self.told: CallSink = nobody
        """Told of each call, and of each that could not be made because of the arm that was to be asked."""
        self._clock = clock
        self._leasing: Leasing = door.admission.leasing
        self._seen: Snapshot | None = None
        self._features = _NOBODY
        self._allowances: dict[str, Allowance] = {}
        self._room = Room(HELD_MAX_BYTES)
        self._passing: set[Sample] = set()
        self._waiting: dict[Sample, Skip] = {}
        self._calls: dict[ShadowCall, tuple[Sample, Allowance]] = {}
        self._closed = False

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """(samples whose answer passes, that wait, calls under way, bytes held): all 0 when nothing is held."""
        return len(self._passing), len(self._waiting), len(self._calls), self._room.held

    def deliver(
        self,
        owner: Owner,
        answer: Attempt,
        wire: Wire,
        call: Call,
        chosen: Plan,
        *,
        request_id: str,
        fallen_back: bool,
        tap: Callable[[bytes], bytes] | None = None,
    ) -> Delivery:
        """Sampler. Where the baseline answers for the candidate there is no other arm to ask."""
        wanted, previous = call.usage_wanted, call.previous
        sample = None if fallen_back else self._sampled(owner, call, chosen, request_id)
        if sample is None:
            return deliver(owner, answer, wire, usage_wanted=wanted, previous=previous, tap=tap)
        sample.streamed = is_event_stream(answer.headers)
        own = sample.tap
        both = own if tap is None else lambda data: own(tap(data))
        return deliver(sample, answer, wire, usage_wanted=wanted, previous=previous, tap=both)

    def offer(self, sample: Sample) -> None:
        """Desk: its request has settled; it waits for the next sweep, if it may."""
        self._passing.discard(sample)
        call, size = sample.call, sample.answer_bytes
        why = unfit(call, ok=sample.ok, prompt_bytes=len(sample.prompt), answer_bytes=size)
        if why is None and sample.too_large:
            why = Skip.TOO_LARGE
        if why is None and self._closed:
            why = Skip.DRAINING
        if why is None and len(self._waiting) >= WAITING_MAX:
            why = Skip.CROWDED
        if why is None:
            self._waiting[sample] = Skip.UNDELIVERED
        else:
            self._skip(sample, why)

    def sweep(self, now_s: float) -> frozenset[str]:
        """Begin and end what is due (`now_s`: perf_counter); the features that have a sample. Never raises."""
        try:
            snapshot = self._snapshot()
            if snapshot is not self._seen:
                self._adopt(snapshot)
            if self._passing or self._waiting or self._calls:
                self._advance(snapshot, now_s)
        except Exception:  # noqa: BLE001  the sweep is what deadlines of requests hang on
            _log.exception("shadow calls could not be looked after")
        return _NOBODY if self._closed else self._features

    def close(self) -> None:
        """Begin nothing more, cut what is under way."""
        self._closed = True
        for call in list(self._calls):
            call.cut()
        for sample in list(self._waiting):
            self._give_up(sample, Skip.DRAINING)

    def _sampled(self, owner: Owner, call: Call, chosen: Plan, request_id: str) -> Sample | None:
        decision = chosen.decision
        if self._closed or decision is None or not in_shadow(self._snapshot(), decision, call.subject):
            return None
        why = self._for_nothing(decision.feature)
        if why is not None:
            self._metrics.shadows.skipped.add((decision.feature, why))
            return None
        sample = Sample(owner, call, decision, request_id, desk=self, room=self._room)
        self._passing.add(sample)
        return sample

    def _for_nothing(self, feature: str) -> Skip | None:
        """Why copying an answer is no use, None if it may be of some."""
        if len(self._waiting) >= WAITING_MAX:
            return Skip.CROWDED
        allowance = self._allowances.get(feature)
        return Skip.BUDGET if allowance is not None and allowance.spent(self._clock()) else None

    def _adopt(self, snapshot: Snapshot) -> None:
        """Take over limits that are new or others now; a feature without a sample (killed, ...) has none."""
        shadowed = {name: each.flag.shadow for name, each in snapshot.features.items() if each.is_shadowed is not None}
        for name, allowance in list(self._allowances.items()):
            shadow = shadowed.get(name)
            if shadow is None or allowance.limits != (shadow.daily_budget, shadow.max_concurrent):
                allowance.retire()
                del self._allowances[name]
        for name, shadow in shadowed.items():
            if name not in self._allowances:
                self._allowances[name] = Allowance(name, shadow.daily_budget, shadow.max_concurrent, self._leasing)
        self._features = frozenset(shadowed)
        self._seen = snapshot

    def _advance(self, snapshot: Snapshot, now_s: float) -> None:
        for sample in [each for each in self._passing if each.abandoned]:
            self._passing.discard(sample)
            self._skip(sample, Skip.FAILED)
        self._cut_lapsed()
        for call, (sample, _) in list(self._calls.items()):
            if self._why_not(sample, snapshot) is Skip.WITHDRAWN:
                call.cut()
            else:
                call.check(now_s)
        begun = 0
        for sample in list(self._waiting):
            if begun == BEGUN_AT_ONCE:
                break
            try:
                begun += self._try(sample, snapshot, now_s)
            except Exception:  # noqa: BLE001  the others shall not wait for it for ever
                _log.exception("a shadow call could not be made")
                self._give_up(sample, Skip.DEFECT)

    def _cut_lapsed(self) -> None:
        """Cut the latest calls of each feature whose places were not renewed."""
        now_s = self._clock()
        for allowance in {each: None for _, each in self._calls.values()}:
            lapsed = allowance.lapsed(now_s)
            own = [call for call, (_, each) in self._calls.items() if each is allowance]
            for call in own[len(own) - lapsed :]:
                call.cut()

    def _try(self, sample: Sample, snapshot: Snapshot, now_s: float) -> bool:
        """Make the call of one that waits, or note why it goes on waiting, or give it up; whether its turn has come."""
        why = self._why_not(sample, snapshot)
        if why is None:
            why = self._begin(sample, snapshot, now_s)
        if why is None:
            return True
        self._waiting[sample] = why
        if why not in PASSING or now_s - sample.since_s > WAIT_MAX_S:
            self._give_up(sample, why)
        return why in _FOUND_LATE

    def _why_not(self, sample: Sample, snapshot: Snapshot) -> Skip | None:
        shedding = self._door.shedding
        reach = self._door.tenants.of(sample.call.subject.tenant or "").reach
        other = self._other(sample, snapshot)
        upstreams = {} if other is None else {other.name: _healthy(other) is not None}
        busy = shedding.full or any(shedding.waiting.values())
        return barred(sample.decision, sample.call, snapshot, Surroundings(upstreams, reach, busy, sample.delivered))

    def _other(self, sample: Sample, snapshot: Snapshot) -> Upstream | None:
        compiled = snapshot.features.get(sample.decision.feature)
        if compiled is None:
            return None
        return self._upstreams.get(upstream_of(compiled.flag, other_arm(sample.decision.arm)))

    def _begin(self, sample: Sample, snapshot: Snapshot, now_s: float) -> Skip | None:
        """Take a place and send the call."""
        feature, other = sample.decision.feature, self._other(sample, snapshot)
        endpoint, allowance = None if other is None else _healthy(other), self._allowances.get(feature)
        if other is None or endpoint is None or allowance is None:  # pragma: no cover - the same snapshot said so
            return Skip.WITHDRAWN
        if len(self._calls) >= CALLS_MAX:
            return Skip.CONCURRENCY
        wanted = sum(each.decision.feature == feature for each in self._waiting)
        why = allowance.take(self._clock(), wanted)
        if why is not None:
            return why
        try:
            call = self._call(sample, other, endpoint)
        except Exception:
            allowance.withdraw(self._clock())
            raise
        if isinstance(call, Skip):
            allowance.withdraw(self._clock())
            return call
        del self._waiting[sample]
        self._calls[call] = (sample, allowance)
        call.send(sample.incoming.headers, f"{sample.request_id}-shadow", now_s)
        return None

    def _call(self, sample: Sample, other: Upstream, endpoint: Endpoint) -> ShadowCall | Skip:
        """Make the call of a sample; that takes time, so it is done for those only whose turn has come."""
        if sample.text is None:
            return Skip.UNREADABLE
        operation, arm = sample.incoming.operation, other_arm(sample.decision.arm)
        try:
            return ShadowCall(sample.call, operation, other, endpoint, arm=arm, ended=self._on_ended)
        except ApiError:
            return Skip.UNSUPPORTED

    def _on_ended(self, call: ShadowCall, end: CallEnd, answered: Answered | None) -> None:
        sample, allowance = self._calls.pop(call)
        allowance.give_back(self._clock())
        feature = sample.decision.feature
        self._metrics.shadows.calls.add((feature, call.arm, end))
        try:
            if end is not CallEnd.CUT:
                self.told(feature, sample.decision.revision, call.arm, answered=end is CallEnd.OK)
            if answered is not None:
                self._metrics.shadows.pairs.add((feature,))
                lost = self.sink.take(self._pair(sample, answered))
                if lost:
                    self._metrics.shadows.pairs_lost.add((), lost)
        except Exception:  # noqa: BLE001  a judge's trouble is not its callers'
            _log.exception("a pair of answers could not be handed over")
        finally:
            sample.release()

    def _pair(self, sample: Sample, answered: Answered) -> ShadowPair:
        decision, unit_kind = sample.decision, sample.decision.unit_kind or ""
        assigned = Answered(
            decision.arm, decision.upstream, sample.text or "", sample.usage, sample.ttft_s, sample.duration_s
        )
        return ShadowPair(
            sample.request_id,
            self._clock(),
            decision.feature,
            decision.revision,
            sample.call.subject.tenant or "",
            unit_kind,
            getattr(sample.call.subject, unit_kind) or "",
            sample.incoming.operation,
            sample.call.stream,
            sample.prompt,
            assigned,
            answered,
            candidate_is_first(sample.request_id),
        )

    def _give_up(self, sample: Sample, why: Skip) -> None:
        self._waiting.pop(sample, None)
        if why in NO_ANSWER:
            decision = sample.decision
            self.told(decision.feature, decision.revision, other_arm(decision.arm), answered=False)
        self._skip(sample, why)

    def _skip(self, sample: Sample, why: Skip) -> None:
        self._metrics.shadows.skipped.add((sample.decision.feature, why))
        sample.release()


def _healthy(upstream: Upstream) -> Endpoint | None:
    """The least busy endpoint about which there is no doubt: a probe is not for shadows to make."""
    sound = [each for each in upstream.endpoints if each.state == BreakerState.HEALTHY]
    return min(sound, key=lambda each: each.outstanding, default=None)
