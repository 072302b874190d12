"""Questions asked of a running vLLM over HTTP. Every answer is a value: an unreachable server is simply not healthy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

import httpx2

if TYPE_CHECKING:
    from types import TracebackType

    from serving.spec import ModelSpec

_QUEUED = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})?\s+([0-9.eE+]+)", re.MULTILINE)


class Probe:
    """Asks one server. Timeouts are short for health and long for the warm-up, which computes."""

    def __init__(self, spec: ModelSpec, *, timeout_s: float = 5.0, warm_up_timeout_s: float = 300.0) -> None:
        self._name = spec.served_name
        self._prompt = spec.warm_up
        self._warm_up_timeout_s = warm_up_timeout_s
        # A proxy of the environment is never meant for a server on this machine.
        self._http = httpx2.AsyncClient(base_url=spec.url, timeout=timeout_s, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def is_healthy(self) -> bool:
        """Whether `/health` says the engine lives."""
        return (await self._get("/health")) is not None

    async def is_answering(self) -> bool:
        """Whether the engine lives and `/v1/models` lists the served name (another server could hold the port)."""
        if not await self.is_healthy():
            return False
        answer = await self._get("/v1/models")
        return answer is not None and self._name in _model_ids(answer)

    async def warm_up(self) -> str:
        """Ask for a completion; empty when it returns at least one token, else what came instead."""
        body = {"model": self._name, "prompt": self._prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        try:
            answer = await self._http.post("/v1/completions", json=body, timeout=self._warm_up_timeout_s)
        except httpx2.HTTPError as error:
            return f"{type(error).__name__} {error}".strip()
        if answer.status_code != httpx2.codes.OK:
            return f"HTTP {answer.status_code}: {answer.text[:200]}"
        return "" if _completion_tokens(answer) > 0 else "no token"

    async def unfinished_requests(self) -> int | None:
        """Count requests running or waiting, from the server's own metrics; None when it does not say."""
        answer = await self._get("/metrics")
        values = _QUEUED.findall(answer.text) if answer is not None else []
        return int(sum(map(float, values))) if values else None

    async def _get(self, path: str) -> httpx2.Response | None:
        try:
            answer = await self._http.get(path)
        except httpx2.HTTPError:
            return None
        return answer if answer.status_code == httpx2.codes.OK else None


def _model_ids(answer: httpx2.Response) -> set[str]:
    try:
        return {str(model["id"]) for model in answer.json()["data"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _completion_tokens(answer: httpx2.Response) -> int:
    try:
        return int(answer.json()["usage"]["completion_tokens"])
    except (ValueError, KeyError, TypeError):
        return 0
