"""An upstream that begins a stream for every POST and then says little: `python -m loadtests.bench.idle_upstream`.

Every stream gets an event each `trickle_s`, spread evenly in time, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque

import uvloop

from loadtests.bench.answering import BACKLOG, HEAD, Answering, chunk

_TICK_S = 0.02


def event(word: str) -> bytes:
    """One content event as one HTTP chunk."""
    data = (
        'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m", '
        f'"choices": [{{"index": 0, "delta": {{"content": "{word}"}}, "finish_reason": null}}]}}\n\n'
    )
    return chunk(data.encode())


class Stream(Answering):
    """One connection, held open."""

    def __init__(self, held: deque[Stream]) -> None:
        super().__init__()
        self._held = held

    def begin(self) -> None:
        """As `Answering.begin`."""
        if self.write(HEAD + event("once")):
            self._held.append(self)

    def trickle(self) -> bool:
        """Send one more event; False once the subject has gone."""
        return self.write(event("more"))


async def _trickle(held: deque[Stream], trickle_s: float) -> None:
    owed = 0.0
    while True:
        await asyncio.sleep(_TICK_S)
        owed += len(held) * _TICK_S / trickle_s
        while owed >= 1 and held:
            owed -= 1
            stream = held.popleft()
            if stream.trickle():
                held.append(stream)


async def _serve(port: int, trickle_s: float) -> None:
    held: deque[Stream] = deque()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(held), "127.0.0.1", port, backlog=BACKLOG)
    async with server:
        await _trickle(held, trickle_s)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
