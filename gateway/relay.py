"""What all exchanges of one worker share."""

from __future__ import annotations

from random import randbytes, random
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.core.outcome import UNDER_WAY
from gateway.core.providers.wires import PATH_OF_OPERATION
from gateway.core.trace import IDS_BYTES, trace_of
from gateway.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.auth import Keyring
    from gateway.checking import Checking
    from gateway.core.outcome import Record
    from gateway.core.routing import Plan
    from gateway.core.trace import Trace
    from gateway.door import Door
    from gateway.http.incoming import Incoming
    from gateway.sampler import Sampler
    from gateway.shadow import Shadows
    from gateway.upstream import Upstream
    from rollout.core.model import Snapshot

_HEADS_CACHED_MAX = 4096
RELAY_PATHS = {b"/v1" + path.encode("ascii"): operation for operation, path in PATH_OF_OPERATION.items()}
"""Operation by path of the public port."""


class Relay:
    """Accepts requests and holds what they need: keys, the current snapshot, upstreams, the recorder."""

    def __init__(
        self,
        *,
        keyring: Keyring,
        snapshot: Callable[[], Snapshot],
        upstreams: Mapping[str, Upstream],
        door: Door,
        record: Callable[[Record], None],
        next_request_id: Callable[[], str],
        draw: Callable[[], float] = random,
        trace_ratio: float | None = None,
        shadows: Shadows | None = None,
        checking: Checking | None = None,
    ) -> None:
        self.keyring = keyring
        self.snapshot = snapshot
        self.upstreams = upstreams
        self.door = door
        self.upstream_of_model = {upstream.model: name for name, upstream in upstreams.items()}
        self.record = record
        self.next_request_id = next_request_id
        self.draw = draw
        self._trace_ratio = trace_ratio
        self.shadows = shadows
        self.checking = checking
        self.sampled: Mapping[str, Sampler] = {}
        """Features of which answers are looked at, as of the last sweep, each with who does."""
        self.active: set[Exchange] = set()
        self._heads: dict[tuple[object, ...], bytes] = {}

    def accept(self, incoming: Incoming) -> None:
        """Take one complete request; it will be answered."""
        Exchange(self, incoming).begin()

    def sweep(self, now_s: float) -> None:
        """Enforce deadlines and expire idle upstream connections (`now_s`: perf_counter)."""
        self.door.sweep(now_s)
        for exchange in list(self.active):
            exchange.check(now_s)
        for upstream in self.upstreams.values():
            upstream.sweep(now_s)
        if self.shadows is not None:
            self.sampled = dict.fromkeys(self.shadows.sweep(now_s), self.shadows)
        if self.checking is not None:
            self.sampled = self.checking.sweep({} if self.shadows is None else self.sampled)

    def under_way(self, age_s: float) -> list[Record]:
        """What is known of the exchanges that arrived at least `age_s` ago and have not settled."""
        before_s = perf_counter() - age_s
        return [
            each.make_record(UNDER_WAY, "", None, each.incoming.ttft_s)
            for each in self.active
            if each.incoming.arrived_at_s <= before_s
        ]

    def end_shadows(self) -> None:
        """The gateway is about to end: its last moments are for those who wait for an answer."""
        self.sampled = {}
        for each in (self.shadows, self.checking):
            if each is not None:
                each.close()

    def end_now(self) -> None:
        """End all that is under way; first who waits, as each place given back would start one of them."""
        for exchange in sorted(self.active, key=lambda each: each.placed):
            exchange.end_now()

    def close(self) -> None:
        """Close all upstream connections."""
        self.end_shadows()
        for upstream in self.upstreams.values():
            upstream.close()

    def trace(self, headers: Mapping[bytes, bytes]) -> Trace | None:
        """Place of a request in its trace; None while nothing is traced."""
        ratio = self._trace_ratio
        if ratio is None:
            return None
        ids = randbytes(IDS_BYTES)  # noqa: S311  ids must differ, not be secret
        return trace_of(headers.get(b"traceparent"), ids, sampled=self.draw() < ratio)

    def answer_lines(self, plan: Plan, arm: str, model: bytes, attempts: int) -> bytes:
        """The `x-glidepath-*` lines, cached: there are few combinations per document version."""
        revision = plan.decision.revision if plan.decision else 0
        key = (plan.feature, arm, plan.assigned, model, revision, plan.reason, attempts)
        lines = self._heads.get(key)
        if lines is None:
            if len(self._heads) >= _HEADS_CACHED_MAX:
                self._heads.clear()
            lines = self._heads[key] = _answer_lines(plan, arm, model, revision, attempts)
        return lines


def _answer_lines(plan: Plan, arm: str, model: bytes, revision: int, attempts: int) -> bytes:
    text = (
        f"x-glidepath-feature: {plan.feature}\r\nx-glidepath-arm: {arm}\r\nx-glidepath-assigned: {plan.assigned}\r\n"
        f"x-glidepath-flag-version: {revision}\r\nx-glidepath-reason: {plan.reason}\r\n"
        f"x-glidepath-attempts: {attempts}\r\nx-glidepath-model: "
    )
    return text.encode("ascii") + model + b"\r\n"
