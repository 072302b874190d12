"""An upstream whose streams come as a model makes them: `python -m loadtests.bench.paced_upstream PORT EVERY_S`.

Each POST gets the constant stream, an event (and an HTTP chunk) at a time, each `every_s` after the one before.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import uvloop

from loadtests.bench.answering import BACKLOG, HEAD, Answering, chunk
from loadtests.bench.workloads import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

_END = b"0\r\n\r\n"


def writes(answer: str) -> list[bytes]:
    """What is written at each beat: a chunk per event; the head goes with the first, the end with the last."""
    chunks = [chunk(f"{text}\n\n".encode()) for text in answer.split("\n\n") if text]
    return [HEAD + chunks[0], *chunks[1:-1], chunks[-1] + _END]


class Stream(Answering):
    """One connection, in time."""

    def __init__(self, beats: Sequence[bytes], every_s: float) -> None:
        super().__init__()
        self._beats = beats
        self._every_s = every_s
        self._next = 0
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """As `Answering.begin`."""
        self._next = 0
        self._beat()

    def _beat(self) -> None:
        if not self.write(self._beats[self._next]):
            return
        self._next += 1
        if self._next < len(self._beats):
            self._loop.call_later(self._every_s, self._beat)


async def _serve(port: int, every_s: float) -> None:
    beats = writes(stream().answer)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(beats, every_s), "127.0.0.1", port, backlog=BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
