"""One shadow call: the other arm is asked what was just answered, and what it says is collected, seen by nobody.

It has connections of its own (`Endpoint.aside`), no retry, no part in breaker, balance or Records: whatever happens to
it, requests don't notice. Like an exchange it has no task, every step being a callback.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from gateway.core.answer import read_usage
from gateway.core.answer_text import answer_text
from gateway.core.errors import ApiError
from gateway.core.outcome import REDIRECTS_FROM, Outcome, Phase, StreamEnd, classify_stream
from gateway.core.providers.heads import passed_lines
from gateway.core.providers.wires import StreamFacts, wire_of
from gateway.core.shadowing import ANSWER_MAX_BYTES, Answered, CallEnd, shadow_fields
from gateway.core.sse import StreamTooLargeError
from gateway.core.wire import is_answer, request_lines
from gateway.delivery import is_event_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.call import Call
    from gateway.core.outcome import Failure
    from gateway.core.sse import Usage, View
    from gateway.http.lease import Answer, Lease
    from gateway.upstream import Endpoint, Upstream

_log = logging.getLogger(__name__)
TOTAL_MAX_S = 120.0


class ShadowCall:
    """The receiver of one call; `ended` is called exactly once, with an answer if all went well."""

    def __init__(
        self,
        call: Call,
        operation: str,
        upstream: Upstream,
        endpoint: Endpoint,
        *,
        arm: str,
        ended: Callable[[ShadowCall, CallEnd, Answered | None], None],
    ) -> None:
        """Raises `ApiError` for what this upstream can't be asked."""
        self._operation, self._upstream, self._endpoint, self.arm, self._ended = (
            operation,
            upstream,
            endpoint,
            arm,
            ended,
        )
        self._wire = wire_of(operation, upstream.kind)
        call = msgspec.structs.replace(call, fields=shadow_fields(call, operation))
        self._usage_wanted = call.usage_wanted
        self._body = self._wire.body(call, upstream.raw_model)
        self._lease: Lease | None = None
        self._over = False
        self._held: list[bytes] = []
        self._size = 0
        self._view: View | None = None
        self._ttft_s: float | None = None
        self._status = 0

    def send(self, headers: Mapping[bytes, bytes], request_id: str, now_s: float) -> None:
        """Ask (`now_s`: perf_counter). `headers`: the caller's."""
        self._sent_at_s = now_s
        head = b"%b%b%b" % (
            self._endpoint.heads[self._operation],
            passed_lines(self._operation, self._upstream.kind, headers),
            request_lines({}, request_id.encode("ascii"), len(self._body)),
        )
        self._lease = self._endpoint.aside.request(self, head, self._body)

    def check(self, now_s: float) -> None:
        """Cut it when its time is up."""
        limits, waited_s = self._upstream.deadlines, now_s - self._sent_at_s
        if waited_s > min(limits.total_s, TOTAL_MAX_S) or (not self._status and waited_s > limits.first_byte_s):
            self.cut(CallEnd.TIMEOUT)

    def cut(self, end: CallEnd = CallEnd.CUT) -> None:
        """Give it up; the upstream sees the abort at once."""
        self._end(end)

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Receiver: collect. Whatever is wrong with an answer costs this call only."""
        if self._over:
            return
        try:
            end = self._take(answer, data, complete=complete)
        except (ApiError, StreamTooLargeError):
            end = CallEnd.UNREADABLE
        except Exception:  # noqa: BLE001  see above
            _log.exception("a shadow's answer could not be taken")
            end = CallEnd.UNREADABLE
        if end is CallEnd.OK:
            self._finish()
        elif end is not None:
            self._end(end)

    def on_failure(self, failure: Failure) -> None:
        """Receiver: no (further) answer."""
        if failure.kind.endswith("timeout"):
            self._end(CallEnd.TIMEOUT)
        else:
            self._end(CallEnd.UNREACHABLE if failure.phase is Phase.CONNECT else CallEnd.BROKEN)

    def _take(self, answer: Answer, data: bytes, *, complete: bool) -> CallEnd | None:
        """Note what came; how the call ended, None while it goes on."""
        if not self._status:
            self._status = answer.status
            if answer.status >= REDIRECTS_FROM or not is_answer(answer.status, answer.headers):
                return CallEnd.STATUS
            if is_event_stream(answer.headers):
                facts = StreamFacts(self._usage_wanted, 0, self._upstream.secrets)
                self._view = self._wire.view(facts)
        view = self._view
        if view is not None:
            data = view.feed(data) if data else b""
            if self._ttft_s is None and view.content_begun:
                self._ttft_s = perf_counter() - self._sent_at_s
            data += view.end() if complete else b""
        self._held.append(data)
        self._size += len(data)
        if self._size > ANSWER_MAX_BYTES:
            return CallEnd.TOO_LARGE
        return self._judge() if complete else None

    def _judge(self) -> CallEnd:
        view = self._view
        if view is None:
            return CallEnd.OK
        end = StreamEnd(view.done, view.finish_reason is not None, view.error_seen, broken=False)
        return CallEnd.OK if classify_stream(end) is Outcome.OK else CallEnd.BROKEN

    def _finish(self) -> None:
        duration_s = perf_counter() - self._sent_at_s
        try:
            text, usage = self._read(b"".join(self._held))
        except ApiError:
            text, usage = None, None
        if text is None:
            self._end(CallEnd.UNREADABLE)
            return
        answered = Answered(self.arm, self._upstream.name, text, usage, self._ttft_s, duration_s)
        self._end(CallEnd.OK, answered)

    def _read(self, body: bytes) -> tuple[str | None, Usage | None]:
        """Text and usage of a whole answer. Raises `ApiError` for one that can't be translated."""
        view = self._view
        if view is not None:
            return answer_text(self._operation, body, stream=True), view.usage
        usage = read_usage(body)
        if self._wire.answer is not None:
            body = self._wire.answer(body, 0)
        return answer_text(self._operation, body, stream=False), usage

    def _end(self, end: CallEnd, answered: Answered | None = None) -> None:
        if self._over:
            return
        self._over = True
        self._held = []
        if self._lease is not None:
            self._lease.cancel()
        self._ended(self, end, answered)
