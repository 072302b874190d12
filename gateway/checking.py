"""Checks a sample of answers of one worker, after they have left: whether they are empty, cut, a refusal, a loop, ...

Copies what passes as shadow calls do (`gateway.shadow_sample`) and looks at it in the sweep, a little each time. An
answer outside the sample pays one checksum of its request's id; features of which nothing is asked pay nothing. The
answer of a baseline that stepped in for the candidate is looked at too: it counts for the arm that was assigned.
"""

from __future__ import annotations

import logging
import time
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.core.answer_text import answer_text
from gateway.core.checks.answer_checks import check
from gateway.core.checks.asked import asked
from gateway.core.checks.ending import ending_of
from gateway.core.checks.sampling import Unchecked, checked, features_checked
from gateway.core.shadowing import PROMPT_MAX_BYTES
from gateway.delivery import deliver, is_event_stream
from gateway.shadow_sample import Room, Sample
from rollout.core.model import EMPTY_SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.attempt import Attempt
    from gateway.core.call import Call
    from gateway.core.checks.sampling import CheckedAnswer, CheckSample
    from gateway.core.providers.wires import Wire
    from gateway.core.routing import Plan
    from gateway.delivery import Delivery, Owner
    from gateway.sampler import Sampler
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
HELD_MAX_BYTES = 16 * 1024 * 1024
WAITING_MAX = 64
"""So that none waits for 2 s: what isn't checked at the age of its unit counts as unknown, in both arms."""
BYTES_AT_ONCE = 65_536
ANSWERS_AT_ONCE = 4
"""Per sweep, and one answer at least: the largest takes some ten milliseconds, the usual one half of one."""
QUIET_LOAD = 0.25
"""Of what sweeps may take: up to this there is room for a sample twice as large."""
_LOAD_OVER_SWEEPS = 600
"""A minute."""


class Checking:
    """Samples answers, and hands on what was found."""

    def __init__(
        self,
        sampled: CheckSample,
        *,
        snapshot: Callable[[], Snapshot],
        found: Callable[[CheckedAnswer], None],
        skipped: Callable[[str, Unchecked], None],
        clock: Callable[[], float] = time.time,
        every_feature: bool = False,
    ) -> None:
        """`sampled`: which answers, and who else asks that; `skipped`: told a feature and why; `clock`: Unix time.

        `every_feature`: also of those whose flag has no gate on what checks find.
        """
        self._sampled, self._snapshot, self._found, self._skipped = sampled, snapshot, found, skipped
        self._clock, self._every_feature = clock, every_feature
        self._seen = EMPTY_SNAPSHOT
        self._wanted: dict[str, Sampler] = {}
        self._room = Room(HELD_MAX_BYTES)
        self._passing: dict[Sample, float] = {}
        """With the arrival of their requests, Unix time."""
        self._waiting: dict[Sample, None] = {}
        self._inner: Mapping[str, Sampler] = {}
        self._closed = False
        self._load = 0.0

    @property
    def counts(self) -> tuple[int, int, int]:
        """(samples whose answer passes, that wait, bytes held): all 0 when nothing is held."""
        return len(self._passing), len(self._waiting), self._room.held

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
        """Sampler: whoever else samples the feature sees the answer too."""
        sample = self._sample(owner, call, chosen, request_id)
        if sample is not None:
            sample.streamed = is_event_stream(answer.headers)
            owner, tap = sample, sample.tap
        inner = self._inner.get(chosen.feature)
        if inner is None:
            return deliver(owner, answer, wire, usage_wanted=call.usage_wanted, previous=call.previous, tap=tap)
        return inner.deliver(owner, answer, wire, call, chosen, request_id=request_id, fallen_back=fallen_back, tap=tap)

    def offer(self, sample: Sample) -> None:
        """Desk: its request has settled."""
        arrived_s = self._passing.pop(sample, 0.0)
        why = None
        if not sample.ok:
            why = Unchecked.FAILED
        elif sample.too_large or len(sample.prompt) > PROMPT_MAX_BYTES:
            why = Unchecked.TOO_LARGE
        elif self._closed:
            why = Unchecked.DRAINING
        elif self._is_crowded(arrived_s):
            why = Unchecked.CROWDED
        if why is None:
            self._waiting[sample] = None
        else:
            self._give_up(sample, why)

    def sweep(self, inner: Mapping[str, Sampler]) -> Mapping[str, Sampler]:
        """Check some that wait; who samples each feature from now on (`inner`: who does besides). Never raises."""
        self._inner = inner
        try:
            for sample in [each for each in self._passing if each.abandoned]:
                del self._passing[sample]
                self._give_up(sample, Unchecked.FAILED)
            self._note_load(self._look_at_some())
            return self._samplers(inner)
        except Exception:  # noqa: BLE001  the sweep is what deadlines of requests hang on
            _log.exception("sampled answers could not be checked")
            return inner

    def close(self) -> None:
        """Look at nothing more."""
        self._closed = True
        for sample in list(self._waiting):
            del self._waiting[sample]
            self._give_up(sample, Unchecked.DRAINING)

    def _look_at_some(self) -> float:
        """How much of what a sweep may take that was."""
        answers = looked_at = 0
        for sample in list(islice(self._waiting, ANSWERS_AT_ONCE)):
            if looked_at >= BYTES_AT_ONCE:
                break
            answers += 1
            looked_at += sample.answer_bytes + len(sample.prompt)
            del self._waiting[sample]
            self._look(sample)
        return max(answers / ANSWERS_AT_ONCE, looked_at / BYTES_AT_ONCE)

    def _note_load(self, load: float) -> None:
        self._load += (load - self._load) / _LOAD_OVER_SWEEPS
        self._sampled.rest(self._clock(), quiet=self._load <= QUIET_LOAD)

    def _samplers(self, inner: Mapping[str, Sampler]) -> Mapping[str, Sampler]:
        """Worked out once of each snapshot: there may be thousands of features, and ten sweeps a second."""
        snapshot = self._snapshot()
        if self._closed:
            return inner
        if snapshot is not self._seen:
            self._seen = snapshot
            self._wanted = dict.fromkeys(features_checked(snapshot, every_feature=self._every_feature), self)
        return {**inner, **self._wanted} if inner else self._wanted

    def _sample(self, owner: Owner, call: Call, chosen: Plan, request_id: str) -> Sample | None:
        decision = chosen.decision
        if self._closed or decision is None or decision.unit_kind is None:
            return None
        arrived_s = self._clock() - (perf_counter() - owner.incoming.arrived_at_s)
        if not self._sampled.takes(request_id, arrived_s):
            return None
        if self._is_crowded(arrived_s):
            self._skipped(decision.feature, Unchecked.CROWDED)
            return None
        sample = Sample(owner, call, decision, request_id, desk=self, room=self._room)
        self._passing[sample] = arrived_s
        return sample

    def _is_crowded(self, arrived_s: float) -> bool:
        """Whether too many wait; then the sample is thinned, lest all who come next be turned away."""
        if len(self._waiting) < WAITING_MAX:
            return False
        self._load = max(self._load, 1.0)
        self._sampled.thin(self._clock(), arrived_s)
        return True

    def _look(self, sample: Sample) -> None:
        try:
            body, operation = sample.body, sample.incoming.operation
            text = answer_text(operation, body, stream=sample.streamed)
            if text is None:
                self._skipped(sample.decision.feature, Unchecked.UNREADABLE)
                return
            ending = ending_of(body, stream=sample.streamed)
            verdicts = check(text, ending, asked(sample.call.fields, operation))
            tenant = sample.call.subject.tenant or ""
            self._found(checked(sample.request_id, self._clock(), sample.decision, verdicts, tenant))
        except Exception:  # noqa: BLE001  the others shall not wait for it for ever
            _log.exception("an answer could not be checked")
            self._skipped(sample.decision.feature, Unchecked.DEFECT)
        finally:
            sample.release()

    def _give_up(self, sample: Sample, why: Unchecked) -> None:
        self._skipped(sample.decision.feature, why)
        sample.release()
