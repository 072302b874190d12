"""One end of the line between the supervisor and a worker: messages over a socket pair, questions and their answers."""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from typing import TYPE_CHECKING, cast

from gateway.core.frames import FrameError, FrameReader, frame
from gateway.core.messages import Ask, MessageError, Reply, decode, encode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.core.messages import Answer, Message, Question

_log = logging.getLogger(__name__)
_BUFFER_MAX_BYTES = 4 * 1024 * 1024

Answers = tuple[tuple[int, "Answer"], ...]


class Channel(asyncio.Protocol):
    """Sends and receives messages; `on_message` gets all but replies, `on_lost` is called once.

    What the other end sends is bounded by the frame size; what it doesn't read by `congested`: senders of what can be
    sent again later (counts) look at that first.
    """

    def __init__(self, on_message: Callable[[Message], None], on_lost: Callable[[], None]) -> None:
        self._on_message, self._on_lost = on_message, on_lost
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Answers | None]] = {}
        self._numbers = count(1)
        self._writable = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def congested(self) -> bool:
        """Whether the other end doesn't keep up, or is gone."""
        return self._transport is None or not self._writable.is_set()

    def send(self, message: Message) -> None:
        """Send; what is sent after the line was lost goes nowhere."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(frame(encode(message)))

    async def send_when_writable(self, message: Message) -> None:
        """Send what is large, waiting for the other end to read what was sent before."""
        await self._writable.wait()
        self.send(message)

    async def ask(self, question: Question, within_s: float, to: int | None = None) -> Answers | None:
        """Give what the other end replied; None if it didn't within the time."""
        number = next(self._numbers)
        answers: asyncio.Future[Answers | None]
        answers = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send(Ask(number, question, to))
        try:
            async with asyncio.timeout(within_s):
                return await answers
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """Send what has been written, then end the line."""
        if self._transport is not None:
            self._transport.close()
            await self._ended.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_BUFFER_MAX_BYTES)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Take what one read brought; a line that carries anything but messages is ended."""
        try:
            for each in self._reader.feed(data):
                self._take(decode(each))
        except (FrameError, MessageError):
            _log.exception("the line between supervisor and worker is damaged")
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        """Note that the other end doesn't keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        """End; nobody who waits for an answer will get one."""
        self._transport = None
        self._writable.set()
        for answers in self._waiting.values():
            if not answers.done():
                answers.set_result(None)
        self._ended.set()
        self._on_lost()

    def _take(self, message: Message) -> None:
        if not isinstance(message, Reply):
            self._on_message(message)
            return
        answers = self._waiting.get(message.id)
        if answers is not None and not answers.done():
            answers.set_result(message.answers)


async def open_channel(
    line: socket.socket, on_message: Callable[[Message], None], on_lost: Callable[[], None]
) -> Channel:
    """Make a channel of one end of a socket pair, which it then owns."""
    channel = Channel(on_message, on_lost)
    await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=line)
    return channel
