"""A stand-in for a gateway's operator port: answers what it was told to, and remembers what it was asked."""

import asyncio
import json
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class OperatorPort:
    """Answers by method and path with (status, body), the last one again and again; 404 for what it doesn't know."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.asked: list[Asked] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    def answer(self, method: str, path: str, *bodies: Any, status: int = 200) -> None:
        """Say what to answer, one after the other."""
        self.answers.setdefault((method, f"/api/v1{path}"), []).extend((status, body) for body in bodies)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = head[0].split(" ")
        self.asked.append(Asked(method, path, headers, json.loads(raw) if raw else None))
        told = self.answers.get((method, path.partition("?")[0]), [(404, {"detail": "unknown", "hint": "ask another"})])
        status, body = told.pop(0) if len(told) > 1 else told[0]
        data = json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n".encode() + data)
        writer.close()


def view(feature: str, revision: int, share: int = 0, phase: str | None = None, **more: object) -> dict[str, object]:
    """A feature as the API shows it."""
    ramp = {"phase": phase, "step": 0, "steps": 2, "holds": [], "verdicts": []}
    plain = {"feature": feature, "revision": revision, "share_millipct": share, "kill": {"on": False}}
    return plain | {"ramp_state": None if phase is None else ramp | more}
