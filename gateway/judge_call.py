"""One question to a judge over HTTP: on connections of its own, within one time limit.

Never asked twice, but where an idle connection turns out to have been closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from gateway.core.judging.score import Miss
from gateway.core.outcome import Phase
from gateway.core.providers.heads import base_path, credentials_lines
from gateway.core.wire import request_lines, upstream_head
from gateway.http.client import Pool
from gateway.http.tls import client_context
from gateway.http.tunnel import proxy_of

if TYPE_CHECKING:
    from gateway.core.outcome import Failure
    from gateway.http.lease import Answer
    from gateway.settings.judges import JudgeSettings

REPLY_MAX_BYTES = 1_048_576
_OK = 200
_TOO_MANY = 429
_KIND = "openai"


class MissedError(Exception):
    """No verdict, and why."""

    def __init__(self, reason: Miss) -> None:
        super().__init__(reason)
        self.reason = reason


class Line(NamedTuple):
    """The way to one judge."""

    pool: Pool
    head: bytes

    async def ask(self, body: bytes, request_id: str, limit_s: float) -> bytes:
        """The body of its answer, all of it within `limit_s`. Raises `MissedError`."""
        receiver = _Receiver()
        lines = request_lines({}, request_id.encode("ascii", "replace"), len(body))
        lease = self.pool.request(receiver, self.head + lines, body)
        try:
            async with asyncio.timeout(limit_s):
                return await receiver.answer
        except TimeoutError:
            raise MissedError(Miss.TIMEOUT) from None
        finally:
            lease.cancel()


def open_line(name: str, settings: JudgeSettings, api_key: str | None, proxy_credentials: str | None = None) -> Line:
    """Make the way to a judge; connects to nobody. Raises `SettingsError` for TLS files that can't be used."""
    parts = urlsplit(settings.url)
    secure = parts.scheme == "https"
    proxy = None if settings.proxy_url is None else proxy_of(settings.proxy_url, proxy_credentials)
    pool = Pool(
        parts.hostname or "",
        parts.port or (443 if secure else 80),
        tls=client_context(settings.tls, f"judges.{name}.tls") if secure else None,
        proxy=proxy,
        connections_max=settings.concurrent,
        waiting_max=settings.concurrent,
        queue_timeout_s=settings.timeout_s,
        connect_s=settings.timeout_s,
        answer_max_bytes=REPLY_MAX_BYTES,
    )
    path = base_path(_KIND, parts.path) + "/chat/completions"
    credentials = credentials_lines(_KIND, api_key)
    if proxy is None or secure:
        return Line(pool, upstream_head(path, parts.netloc, credentials))
    # A proxy is told the whole URL, except through a tunnel.
    head = upstream_head(f"http://{parts.netloc}{path}", parts.netloc, credentials)
    return Line(pool, head + proxy.authorization.encode("ascii"))


class _Receiver:
    """Collects one answer. The pool bounds its size."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Receiver."""
        self._parts.append(data)
        if complete and not self.answer.done():
            if answer.status == _OK:
                self.answer.set_result(b"".join(self._parts))
            else:
                self._fail(Miss.RATE_LIMITED if answer.status == _TOO_MANY else Miss.STATUS)

    def on_failure(self, failure: Failure) -> None:
        """Receiver."""
        if failure.kind == "answer_too_large":
            self._fail(Miss.TOO_LARGE)
        elif failure.kind.endswith("timeout"):
            self._fail(Miss.TIMEOUT)
        else:
            self._fail(Miss.UNREACHABLE if failure.phase is Phase.CONNECT else Miss.BROKEN)

    def _fail(self, reason: Miss) -> None:
        if not self.answer.done():
            self.answer.set_exception(MissedError(reason))
