"""Whose turn it is on a caller's connection: answers leave in the order of the requests, then the connection may end.

A request that can't be accepted gets its refusal in its turn, and that is the connection's last answer.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import FAULT, ApiError
from gateway.http.incoming import Incoming, last_answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from gateway.http.server import Reception


class Turns(HttpToolsProtocol):
    """The answering half of `RelayProtocol`, which sets `_receiving` and `_whole`."""

    reception: Reception
    _active: Any = None
    """Whoever is answered now, or was last: an Incoming or the parent's cycle."""
    _receiving: Any = None
    """Whoever the message being received belongs to; None until its head is complete. Stale when `_whole`."""
    _whole = True
    """Whether no message is being received."""
    _deaf = False
    """Whether whatever still comes in is dropped."""
    _ended = False
    """Whether the last answer has been written."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse one too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.transport.set_write_buffer_limits(high=self.reception.limits.write_buffer_max_bytes)
        if len(self.connections) > self.reception.limits.connections_max:
            self._deaf = self._ended = True
            error = ApiError(503, "Too many connections.", "server_error", code="too_many_connections", retry_after_s=1)
            self.transport.write(last_answer(error, self.date_line()))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who still answers that the caller is gone."""
        cycles = self._cycles()
        super().connection_lost(exc)
        for each in cycles:
            if not each.response_complete:
                each.disconnected = True
                if type(each) is Incoming and each.listener is not None:
                    each.listener.on_caller_gone()
                each.message_event.set()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Close, unless only the application owes answers: the caller may just have stopped sending.

        A relay's caller is taken to have left: one that half-closed looks the same, and a model would go on working
        for nobody.
        """
        owed = [each for each in self._cycles() if not each.response_complete]
        if not owed or self.scheme == "https" or any(type(each) is Incoming or each.more_body for each in owed):
            return False
        self._deaf = True
        self.cycle.keep_alive = False
        return True

    def on_response_complete(self) -> None:
        """Go on with the next request. Nothing is timed per request: see `close_if_idle`."""
        self.server_state.total_requests += 1
        if self.pipeline:
            self._start_next()

    def pause_writing(self) -> None:
        """The caller reads slower than it is written to."""
        super().pause_writing()
        active = self._active
        if type(active) is Incoming and active.listener is not None:
            active.listener.on_caller_blocked()

    def resume_writing(self) -> None:
        """The caller reads on."""
        super().resume_writing()
        active = self._active
        if type(active) is Incoming and active.listener is not None:
            active.listener.on_caller_ready()
        if self.pipeline and self._active.response_complete:
            self._start_next()

    def shutdown(self) -> None:
        """Close behind the last answer owed; a request that isn't whole yet is not waited for."""
        owed = [each for each in self._cycles() if not each.response_complete and not each.more_body]
        if owed:
            owed[-1].keep_alive = False
        else:
            self.transport.close()

    def begin_drain(self) -> None:
        """Let the last answer owed here, and every one from now on, say `connection: close` and mean it.

        Sets `draining` for all connections; those without a request stay open until `close_if_idle`. An answer
        that has begun can't say so any more: the next one will.
        """
        self.reception.draining = True
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            return
        if not (cycle.begun if type(cycle) is Incoming else cycle.response_started):
            cycle.keep_alive = False

    def hang_up(self) -> None:
        """Close behind the last answer.

        If the caller is still sending, what comes is read and dropped for a moment: a socket closed over unread bytes
        resets the connection, and the answer may be lost.
        """
        self._deaf = True
        if self._ended or self.transport.is_closing():
            return
        self._ended = True
        if self._whole or self.scheme == "https" or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(self.reception.limits.linger_s, self._end_linger)

    def date_line(self) -> bytes:
        """Uvicorn's default headers (date), rendered once per change."""
        default, reception = self.server_state.default_headers, self.reception
        if reception.date_of is not default:
            reception.date_of = default
            reception.date_line = b"".join(b"%b: %b\r\n" % pair for pair in default)
        return reception.date_line

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  the parent's types
        self._active = cycle
        if type(cycle) is Incoming:
            # Not from inside the previous answer's write.
            self.loop.call_soon(self._answer_in_turn, cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def _queue(self, incoming: Incoming) -> None:
        self.pipeline.appendleft((cast("Any", incoming), self.app))

    def _start_next(self) -> None:
        if not self._ended and not self.flow.write_paused and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def _answer_in_turn(self, incoming: Incoming) -> None:
        if incoming.disconnected or incoming.response_complete:
            return
        if incoming.refusal is not None:
            incoming.refuse(incoming.refusal)
        elif incoming.more_body:
            incoming.invite_body()
        elif not incoming.arrived_at_s:
            self._accept(incoming)

    def _accept(self, incoming: Incoming) -> None:
        incoming.arrived_at_s = perf_counter()
        try:
            self.reception.accept(incoming)
        except Exception:
            # Not through the parser, which would call it the caller's fault.
            self.logger.exception("a relay request failed")
            self._give_up(incoming)

    def _give_up(self, incoming: Incoming) -> None:
        if incoming.listener is not None:
            incoming.listener.on_caller_gone()
        incoming.keep_alive = False
        if incoming.begun:
            incoming.abort()
        else:
            incoming.refuse(FAULT)

    def _refuse(self, error: ApiError) -> None:
        """Answer the message being received with `error`, in its turn, and hear nothing more."""
        own = None if self._whole else self._receiving
        self._deaf, self._whole = True, False
        if self.transport.is_closing():
            return
        if own is None:
            refused = self._refused(error)
            if self.pipeline or self.flow.write_paused or (self._active and not self._active.response_complete):
                self._queue(refused)
            else:
                self._active = refused
        elif type(own) is Incoming:
            refused = own
            refused.refusal, refused.more_body, refused.keep_alive = error, False, False
        elif own is not self._active:
            refused = self._refused(error)
            self.pipeline[0] = (cast("Any", refused), self.app)
        else:
            self._refuse_begun(own, error)
            return
        self.cycle = cast("Any", refused)
        if refused is self._active:
            self._answer_in_turn(refused)

    def _refuse_begun(self, cycle: Any, error: ApiError) -> None:  # noqa: ANN401  the parent's type
        """Answer in the application's place, if it hasn't begun to: what goes wrong later can't be another answer."""
        begun = cycle.response_started
        if not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if begun:
            self.hang_up()
        else:
            refused = self._active = self._refused(error)
            self.cycle = cast("Any", refused)
            self._answer_in_turn(refused)

    def _refused(self, error: ApiError) -> Incoming:
        refused = Incoming(self, "", {}, keep_alive=False)
        refused.refusal, refused.more_body = error, False
        return refused

    def _bytes_in_line(self) -> int:
        cycles = (entry[0] for entry in self.pipeline)
        return sum(each.size if type(each) is Incoming else len(each.body) for each in cast("Iterator[Any]", cycles))

    def _cycles(self) -> list[Any]:
        """Whoever may still owe an answer."""
        active = self._active
        return [*([] if active is None else [active]), *(entry[0] for entry in self.pipeline)]

    def _end_linger(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()
