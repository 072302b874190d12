"""Asks one arm one prompt over HTTP, and says what came of it."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from gateway.core.answer_text import answer_text
from gateway.core.checks.ending import ending_of
from gateway.core.evaluation.answers import EvalAnswer, key_of
from gateway.core.evaluation.prompt_set import EvaluationError
from gateway.core.sse import StreamTooLargeError, StreamView
from rollout.core.cost import Gpus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollout.core.cost import TokenPrice

ANSWER_MAX_BYTES = 16 * 1024 * 1024
ATTEMPTS_MAX = 4
WAIT_MAX_S = 30.0
_OK = 200
_PASSING = frozenset({429, 503, 529})
_NEVER = frozenset({401, 403, 404})
"""What no prompt will get past: the key, or the model's name, is wrong."""


class EvalArm(NamedTuple):
    """Who is asked. `base_url` ends before `/chat/completions`; `price`: of tokens, None if it is not known."""

    arm: str
    name: str
    base_url: str
    model: str
    api_key: str | None
    price: TokenPrice | None = None
    gpus: Gpus = Gpus()


class Broken(Exception):  # noqa: N818  named for what happened
    """There is no whole answer, and this is why, in a word."""


class Asker:
    """Sends requests over one pool of connections; use as an async context."""

    def __init__(
        self,
        timeout_s: float,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._timeout_s, self._sleep = timeout_s, sleep
        self._http = http or httpx2.AsyncClient(timeout=timeout_s, limits=httpx2.Limits(max_connections=None))

    async def __aenter__(self) -> Asker:  # noqa: PYI034  nobody inherits
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, arm: EvalArm, body: bytes, again: int = 0) -> EvalAnswer:
        """One answer, or a problem. Refusals that pass (429, 503) are asked again.

        Raises `EvaluationError` if the arm lets nobody in: going on would only show that neither arm answers.
        """
        key = key_of(arm.arm, arm.base_url, body, again)
        try:
            async with asyncio.timeout(self._timeout_s * ATTEMPTS_MAX):
                return await self._patiently(arm, body, key)
        except Broken as broken:
            return EvalAnswer(key, arm.arm, problem=str(broken))
        except (httpx2.TimeoutException, TimeoutError):
            return EvalAnswer(key, arm.arm, problem="timeout")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as fault:
            return EvalAnswer(key, arm.arm, problem=type(fault).__name__)

    async def _patiently(self, arm: EvalArm, body: bytes, key: str) -> EvalAnswer:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            answer = await self._once(arm, body, key, last=attempt == ATTEMPTS_MAX)
            if isinstance(answer, EvalAnswer):
                return answer
            await self._sleep(min(answer, WAIT_MAX_S))
        raise AssertionError("the last attempt has an answer or breaks")  # pragma: no cover

    async def _once(self, arm: EvalArm, body: bytes, key: str, *, last: bool) -> EvalAnswer | float:
        """An answer, or how many seconds to wait before asking again."""
        headers = {"content-type": "application/json"}
        if arm.api_key:
            headers["authorization"] = f"Bearer {arm.api_key}"
        sent_s = perf_counter()
        url = f"{arm.base_url.rstrip('/')}/chat/completions"
        async with self._http.stream("POST", url, content=body, headers=headers) as answer:
            if answer.status_code in _PASSING and not last:
                return _wait_s(answer.headers.get("retry-after"))
            if answer.status_code in _NEVER:
                cause = f"{arm.name} at {arm.base_url} refuses model {arm.model!r} with status {answer.status_code}"
                raise EvaluationError(cause, "check the key, the model's name and, for a gateway, the key's roles")
            if answer.status_code != _OK:
                raise Broken(f"status_{answer.status_code}")
            return await _read(answer, EvalAnswer(key, arm.arm), sent_s)


async def _read(answer: httpx2.Response, blank: EvalAnswer, sent_s: float) -> EvalAnswer:
    """Read the stream to its end. Raises `Broken`."""
    view = StreamView(usage_wanted=True)
    parts: list[bytes] = []
    size, ttft_s = 0, None
    async for data in answer.aiter_bytes():
        parts.append(data)
        size += len(data)
        if size > ANSWER_MAX_BYTES:
            raise Broken("too_large")
        try:
            view.feed(data)
        except StreamTooLargeError:
            raise Broken("too_large") from None
        if ttft_s is None and view.content_begun:
            ttft_s = perf_counter() - sent_s
    view.end()
    body, ended_s = b"".join(parts), perf_counter()
    if view.error_seen:
        raise Broken("error_event")
    text = answer_text("chat", body, stream=True)
    if text is None:
        raise Broken("no_answer")
    if not view.done and view.finish_reason is None:
        raise Broken("cut_off")
    usage = view.usage
    return EvalAnswer(
        blank.key,
        blank.arm,
        None,
        text,
        ending_of(body, stream=True).value,
        ttft_s,
        ended_s - sent_s,
        None if usage is None else int(usage.prompt_tokens),
        None if usage is None else int(usage.completion_tokens),
    )


def _wait_s(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 1))
    except ValueError:
        return 1.0
