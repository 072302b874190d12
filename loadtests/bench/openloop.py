"""A client that sends at a fixed rate whatever comes back, in a process of its own: `python -m` with JSON on stdin.

Every request has a time at which it is due; latency runs from there to the last byte of the answer, so a subject that
stalls is charged for the requests that would have come meanwhile (no coordinated omission). The loop polls without
sleeping, since a timer's granularity is larger than what is measured: give it a core of its own.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import httptools
import msgspec

from loadtests.bench.estimates import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
_READ_BYTES = 262_144
_PATIENCE_S = 10.0
_LEAD_S = 0.05
_OK = 200


class Order(msgspec.Struct, frozen=True):
    """What to send where. `requests`: whole HTTP/1.1 requests, taking turns; the first `warm_up_s` isn't counted."""

    port: int
    requests: tuple[str, ...]
    rate_per_s: int
    duration_s: float
    connections: int
    warm_up_s: float = 0.5


class Result(msgspec.Struct, frozen=True):
    """`queued`: requests that found every connection taken. `lag_p99_s`: how late the client itself was with others."""

    answered: int
    failures: int
    queued: int
    lag_p99_s: float
    latency_s: dict[str, float]


class Sample(NamedTuple):
    """One answer: when it was due and sent, when it was complete, and whether it was a 200."""

    due_s: float
    sent_s: float
    done_s: float
    queued: bool
    good: bool


def summarize(samples: Sequence[Sample], unanswered: int, counted_from_s: float) -> Result:
    """Percentiles over the good answers that were due from `counted_from_s` on."""
    counted = [each for each in samples if each.due_s >= counted_from_s]
    latency = sorted(each.done_s - each.due_s for each in counted if each.good)
    lag = sorted(each.sent_s - each.due_s for each in counted if not each.queued)
    return Result(
        answered=len(latency),
        failures=sum(not each.good for each in samples) + unanswered,
        queued=sum(each.queued for each in counted),
        lag_p99_s=quantile(lag, 0.99) if lag else 0.0,
        latency_s={name: quantile(latency, share) for name, share in PERCENTILES.items()} if latency else {},
    )


class Lane:
    """One kept connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.due_s = self.sent_s = 0.0
        self.queued = self.complete = self.good = False
        self.open()

    def open(self) -> None:
        """Connect, anew after a failure."""
        self.socket = socket.create_connection(("127.0.0.1", self._port), _PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, due_s: float, *, queued: bool) -> None:
        """Send one request that was due at `due_s`."""
        self.due_s, self.queued, self.complete = due_s, queued, False
        self.socket.settimeout(_PATIENCE_S)
        self.sent_s = perf_counter()
        self.socket.sendall(request)
        self.socket.setblocking(False)

    def receive(self) -> bool:
        """Read what is there; whether the answer is complete. Raises OSError when the connection is no more."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError
        self._parser.feed_data(data)
        return self.complete

    def on_message_complete(self) -> None:
        """Part of httptools' protocol."""
        self.complete = True
        self.good = self._parser.get_status_code() == _OK
        if not self._parser.should_keep_alive():
            raise ConnectionAbortedError


class Generator:
    """Sends every request when it is due, or as soon as a connection is free."""

    def __init__(self, order: Order) -> None:
        self._requests = [request.encode() for request in order.requests]
        self._gap_s = 1 / order.rate_per_s
        self._total = round(order.rate_per_s * (order.warm_up_s + order.duration_s))
        self._sent = 0
        self._due: deque[tuple[float, bool]] = deque()
        self.samples: list[Sample] = []
        self._free = deque(Lane(order.port) for _ in range(order.connections))
        self._poll = select.epoll()
        self._lanes: dict[int, Lane] = {}
        for lane in self._free:
            self._watch(lane)

    def _watch(self, lane: Lane) -> None:
        self._lanes[lane.socket.fileno()] = lane
        self._poll.register(lane.socket, select.EPOLLIN)

    def run(self) -> tuple[float, int]:
        """Send all; gives the time the first was due and the number of unanswered requests."""
        start_s = perf_counter() + _LEAD_S
        end_s = start_s + self._total * self._gap_s + _PATIENCE_S
        planned = self._schedule(start_s)
        next_s: float | None = next(planned)
        while len(self.samples) < self._total and perf_counter() < end_s:
            while next_s is not None and next_s <= perf_counter():
                self._due.append((next_s, len(self._due) >= len(self._free)))
                next_s = next(planned, None)
            while self._due and self._free:
                self._send(self._free.popleft(), *self._due.popleft())
            for number, _ in self._poll.poll(0):
                self._receive(self._lanes[number])
        return start_s, self._total - len(self.samples)

    def _schedule(self, start_s: float) -> Iterator[float]:
        for number in range(self._total):
            yield start_s + number * self._gap_s

    def _send(self, lane: Lane, due_s: float, queued: bool) -> None:  # noqa: FBT001  a pair of the queue
        try:
            lane.send(self._requests[self._sent % len(self._requests)], due_s, queued=queued)
        except OSError:
            self._fail(lane)
        self._sent += 1

    def _receive(self, lane: Lane) -> None:
        try:
            complete = lane.receive()
        except (OSError, httptools.HttpParserError):
            if lane not in self._free:
                self._fail(lane, good=lane.complete and lane.good)
            else:
                self._reopen(lane)
            return
        if complete:
            self._note(lane, good=lane.good)

    def _note(self, lane: Lane, *, good: bool) -> None:
        self.samples.append(Sample(lane.due_s, lane.sent_s, perf_counter(), lane.queued, good))
        self._free.append(lane)

    def _fail(self, lane: Lane, *, good: bool = False) -> None:
        self._note(lane, good=good)
        self._reopen(lane)

    def _reopen(self, lane: Lane) -> None:
        self._poll.unregister(lane.socket)
        del self._lanes[lane.socket.fileno()]
        lane.socket.close()
        lane.open()
        self._watch(lane)


def main() -> None:
    """Read an order, carry it out, print the result."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    generator = Generator(order)
    gc.disable()
    start_s, unanswered = generator.run()
    result = summarize(generator.samples, unanswered, start_s + order.warm_up_s)
    sys.stdout.write(json.dumps(msgspec.to_builtins(result)) + "\n")


if __name__ == "__main__":
    main()
