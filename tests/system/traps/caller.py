"""A caller on one bare connection, which reads answers byte by byte as they come and may leave at any moment."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

KEY = "gp-traps-test"
CHAT = "/v1/chat/completions"
DEADLINE_S = 60.0


class Answer(NamedTuple):
    """What came back; `whole` if the message ended as its framing says."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """Data of each event: text where it is no JSON."""
        return events_of(self.body)

    @property
    def text(self) -> str:
        """Text of a chat, streamed or not."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.json["choices"][0]["message"]["content"]
        chunks = [each for each in self.events if isinstance(each, dict) and each.get("choices")]
        return "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks)

    @property
    def done(self) -> bool:
        return "[DONE]" in self.events

    @property
    def in_band_error(self) -> dict[str, Any] | None:
        last = self.events[-1] if self.events else None
        return last["error"] if isinstance(last, dict) and "error" in last else None


def events_of(body: bytes) -> list[Any]:
    found: list[Any] = []
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")]
        if lines:
            data = b"\n".join(lines).decode()
            try:
                found.append(json.loads(data))
            except json.JSONDecodeError:
                found.append(data)
    return found


def chat(prompt: str, feature: str = "summarize", **fields: Any) -> dict[str, Any]:
    return {"model": f"copilot/{feature}", "messages": [{"role": "user", "content": prompt}], **fields}


def fault(kind: str, **figures: Any) -> str:
    """What a prompt says to meet a fault."""
    return f"tell me [[fault:{json.dumps({'kind': kind, **figures})}]]"


class Line:
    """One connection to the gateway, opened when it is needed."""

    def __init__(self, url: str, key: str = KEY) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._key = key
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(
        self,
        body: dict[str, Any] | bytes | None,
        headers: Mapping[str, str] | None = None,
        *,
        path: str = CHAT,
        method: str = "POST",
    ) -> None:
        """Send a whole request."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"host": "gateway", "authorization": f"Bearer {self._key}", "content-type": "application/json"}
        lines |= {"content-length": str(len(data)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        await self.send_raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)

    async def send_raw(self, data: bytes) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(*self._address)
        self.writer.write(data)

    async def ask(self, *args: Any, **options: Any) -> Answer:
        """Send, and read the whole answer."""
        await self.send(*args, **options)
        return await self.answer()

    async def answer(self) -> Answer:
        """Read one answer; the connection is closed if it says so, or broke."""
        assert self.reader is not None
        async with asyncio.timeout(DEADLINE_S):
            status, headers = await self.head()
            body = bytearray()
            try:
                await self._read_body(headers, body)
                whole = True
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                body += getattr(error, "partial", b"")
                whole = False
        answer = Answer(status, headers, bytes(body), whole)
        # After an error inside a stream the gateway closes, which its head could not say yet.
        if not whole or headers.get("connection") == "close" or b"error" in body[-2_000:]:
            self.close()
        return answer

    async def head(self) -> tuple[int, dict[str, str]]:
        assert self.reader is not None
        async with asyncio.timeout(DEADLINE_S):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        pairs = (line.partition(": ") for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}

    async def _read_body(self, headers: Mapping[str, str], body: bytearray) -> None:
        assert self.reader is not None
        if "content-length" in headers:
            body += await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            body += await self.reader.read(-1)

    async def pause(self) -> None:
        """Let what was sent so far be read on its own."""
        await asyncio.sleep(0.002)

    async def some(self) -> bytes:
        """Whatever bytes come next."""
        assert self.reader is not None
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read(65_536)

    def close(self) -> None:
        """Leave politely."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    def reset(self) -> None:
        """Leave at once: what was sent may be lost."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


async def over_lines(
    url: str, items: Iterable[Any], ask: Callable[[Line, Any], Awaitable[Any]], lines: int = 16, key: str = KEY
) -> list[Any]:
    """Have `ask(line, item)` done for every item, over so many connections at once; results in the items' order."""
    waiting = list(enumerate(items))[::-1]
    found: list[Any] = [None] * len(waiting)

    async def work() -> None:
        line = Line(url, key)
        try:
            while waiting:
                number, item = waiting.pop()
                found[number] = await ask(line, item)
        finally:
            line.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(lines, len(waiting))):
            group.create_task(work())
    return found
