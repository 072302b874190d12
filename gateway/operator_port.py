"""The operator's port as a server in the supervisor's loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from fastapi import FastAPI

_DRAIN_S = 1


class OperatorPort(uvicorn.Server):
    """Signals are the supervisor's business; `listening` is set once it answers."""

    def __init__(self, app: FastAPI, keep_alive_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                loop="none",
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=max(1, round(keep_alive_s)),
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the parent."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
