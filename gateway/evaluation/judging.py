"""Has a judge compare both arms' answers of a run, in both orders, with the very questions of the gateway."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.evaluation.prompt_set import EvaluationError
from gateway.core.evaluation.wins import Judgement
from gateway.core.judging.prompt import Frozen, Matter, question, version
from gateway.core.judging.request_text import request_text
from gateway.core.judging.score import SAME, Miss, judged
from gateway.core.judging.verdict import read_completion, read_verdict
from gateway.judge_call import MissedError, open_line
from gateway.judges import frozen_of
from gateway.settings.file import judge_keys, judge_proxy, proxy_credentials
from gateway.settings.values import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gateway.core.judging.verdict import Said, Winner
    from gateway.judge_call import Line
    from gateway.settings import Settings
    from gateway.settings.judges import JudgeSettings

_DECODE = msgspec.json.Decoder(Judgement).decode
_KEY_BYTES = 16
NO_ANSWER = "no_answer"
"""The candidate has none: the baseline wins, without a question."""


class EvalJudge(NamedTuple):
    """Who judges; `api_key`, `proxy_credentials`: from the environment."""

    name: str
    settings: JudgeSettings
    frozen: Frozen
    api_key: str | None = None
    proxy_credentials: str | None = None


class ToJudge(NamedTuple):
    """Both answers to one request. `candidate`: None if it gave none."""

    body: bytes
    candidate: str | None
    baseline: str


def judge_of(settings: Settings, name: str) -> EvalJudge:
    """A judge of the configuration. Raises `SettingsError`."""
    found = settings.judges.get(name)
    if found is None:
        known = ", ".join(sorted(settings.judges)) or "none"
        raise SettingsError(f"there is no judge {name!r} in the configuration", f"known: {known}")
    if found.kind != "model":
        raise SettingsError(f"judge {name!r} is of kind {found.kind}", "references belong into the set, with a scorer")
    through = proxy_credentials(settings).get(judge_proxy(name))
    return EvalJudge(name, found, frozen_of(name, found), judge_keys(settings)[name], through)


def judgements_of(
    judge: EvalJudge, pairs: Sequence[ToJudge], kept: Path, progress: Callable[[int, int], None]
) -> list[Judgement]:
    """A judgement for each pair, in order; what `kept` (JSONL) has is not asked again, what is new is added to it.

    Raises `EvaluationError` for a judge that refuses every question, OSError.
    """
    found = _decoded(kept.read_bytes()) if kept.exists() else {}
    keys = [_key(judge.frozen, pair) for pair in pairs]
    missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}

    def keep(judgement: Judgement) -> None:
        found[judgement.key] = judgement
        file.write(msgspec.json.encode(judgement) + b"\n")
        file.flush()
        progress(sum(key in found for key in keys), len(keys))

    with kept.open("ab") as file:
        file.write(b"\n")  # after a line that an earlier end tore
        asyncio.run(_judge_all(judge, missing, keep))
    if pairs and all(found[key].result == Miss.STATUS for key in keys):
        raise EvaluationError(f"judge {judge.name!r} refuses every question", "check its url, its model and its key")
    return [found[key] for key in keys]


async def _judge_all(judge: EvalJudge, pairs: Mapping[str, ToJudge], keep: Callable[[Judgement], None]) -> None:
    line = open_line(judge.name, judge.settings, judge.api_key, judge.proxy_credentials)
    waiting = iter(pairs.items())

    async def work() -> None:
        for key, pair in waiting:
            keep(await _judged(judge, line, key, pair))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(judge.settings.concurrent):
                group.create_task(work())
    finally:
        line.pool.close()


async def _judged(judge: EvalJudge, line: Line, key: str, pair: ToJudge) -> Judgement:
    if pair.candidate is None:
        return Judgement(key, NO_ANSWER, 0.0)
    if pair.candidate == pair.baseline:
        return Judgement(key, SAME.result, SAME.w)
    request = request_text("chat", pair.body)
    if request is None:
        return Judgement(key, Miss.UNREADABLE)
    try:
        return await _both_orders(judge, line, key, Matter(request, pair.candidate, pair.baseline))
    except MissedError as missed:
        return Judgement(key, missed.reason)


async def _both_orders(judge: EvalJudge, line: Line, key: str, matter: Matter) -> Judgement:
    opinions: dict[bool, tuple[Winner, Said]] = {}
    for candidate_first in (True, False):
        body = question(judge.frozen, matter, token_hex(16), candidate_first=candidate_first)
        place = "a" if candidate_first else "b"
        said = read_completion(await line.ask(body, f"eval-{key}-{place}", judge.settings.timeout_s))
        if said is None:
            raise MissedError(Miss.NO_COMPLETION)
        winner = read_verdict(said.text)
        if winner is None:
            raise MissedError(Miss.NONSENSE)
        opinions[candidate_first] = winner, said
    if opinions[True][1].model != opinions[False][1].model:
        raise MissedError(Miss.CHANGED)
    found = judged(opinions[True][0], opinions[False][0])
    return Judgement(key, found.result, found.w, version(judge.frozen, opinions[True][1].model))


def _key(frozen: Frozen, pair: ToJudge) -> str:
    """Of the question, the answers included: a judgement is used again only for the very same."""
    asked = request_text("chat", pair.body)
    whole = msgspec.json.encode((version(frozen, ""), asked, pair.candidate, pair.baseline))
    return blake2b(whole, digest_size=_KEY_BYTES).hexdigest()


def _decoded(lines: bytes) -> dict[str, Judgement]:
    """Judgements by key; losses and torn lines are left out, so both are asked again."""
    found = {}
    for line in lines.splitlines():
        try:
            judgement = _DECODE(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if judgement.w is not None:
            found[judgement.key] = judgement
    return found
