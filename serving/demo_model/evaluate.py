"""Exact match of a served model, measured over HTTP as a caller would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx2

from serving.demo_model.errors import DemoModelError
from serving.demo_model.scoring import exact_match

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving.demo_model.prompts import Prompt

MAX_ANSWER_TOKENS: Final = 128
CONCURRENCY: Final = 16
TIMEOUT_S: Final = 120.0


class Target(NamedTuple):
    """An OpenAI-compatible server: `base_url` ends in /v1."""

    base_url: str
    model: str
    api_key: str | None = None


class Result(NamedTuple):
    """`exact_match`: share of right answers per task, 0 to 1; `finished`: share that stopped by themselves."""

    exact_match: dict[str, float]
    finished: float
    answers: list[str]


def evaluate(target: Target, prompts: Sequence[Prompt]) -> Result:
    """Ask `target` every prompt at temperature 0. Raises DemoModelError where it can't be reached or refuses."""
    choices = asyncio.run(_ask_all(target, prompts))
    answers = [str(choice["message"]["content"] or "") for choice in choices]
    finished = sum(choice["finish_reason"] == "stop" for choice in choices) / max(1, len(choices))
    return Result(exact_match(prompts, answers), round(finished, 4), answers)


async def _ask_all(target: Target, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}
    limits = httpx2.Limits(max_connections=CONCURRENCY)
    async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=TIMEOUT_S) as client:
        return await asyncio.gather(*(_ask(client, target, prompt) for prompt in prompts))


async def _ask(client: httpx2.AsyncClient, target: Target, prompt: Prompt) -> dict[str, Any]:
    body = {
        "model": target.model,
        "messages": prompt["messages"],
        "temperature": 0,
        "max_tokens": MAX_ANSWER_TOKENS,
    }
    try:
        answer = await client.post(f"{target.base_url.rstrip('/')}/chat/completions", json=body)
        answer.raise_for_status()
        choice: dict[str, Any] = answer.json()["choices"][0]
    except httpx2.HTTPStatusError as refusal:
        cause = f"{target.base_url} answered {refusal.response.status_code}: {refusal.response.text[:200]}"
        raise DemoModelError(cause, "check --model and the API key against the server's /v1/models") from refusal
    except httpx2.HTTPError as fault:
        cause = f"cannot reach {target.base_url}: {fault or type(fault).__name__}"
        raise DemoModelError(cause, "start the server first, or correct --base-url") from fault
    except (ValueError, LookupError, TypeError) as strange:
        cause = f"{target.base_url} did not answer with a chat completion"
        raise DemoModelError(
            cause, "--base-url must be that of an OpenAI-compatible server, ending in /v1"
        ) from strange
    return choice
