"""A run: every prompt to both arms, a few at a time, each answer kept at once; then the report."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from gateway.core.evaluation.answers import EvalAnswer, decode_lines, encode_line, key_of
from gateway.core.evaluation.gpu_time import gpu_time
from gateway.core.evaluation.prompt_set import EvaluationError, body_of, read_prompts
from gateway.core.evaluation.report import markdown
from gateway.core.evaluation.summary import EvalReport, Trial, judged, sum_up
from gateway.core.evaluation.wins import report_wins
from gateway.evaluation.asking import Asker
from gateway.evaluation.judging import ToJudge, judgements_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from gateway.core.evaluation.prompt_set import EvalPrompt
    from gateway.core.evaluation.scoring import Scorer
    from gateway.core.evaluation.wins import Judgement
    from gateway.evaluation.asking import EvalArm
    from gateway.evaluation.judging import EvalJudge

ANSWERS_FILE = "answers.jsonl"
JUDGEMENTS_FILE = "judgements.jsonl"
MARKDOWN_FILE = "report.md"
JSON_FILE = "report.json"


class EvalPlan(NamedTuple):
    """What to run. `request`: members of every request; `max_drop`: as a fraction of prompts."""

    candidate: EvalArm
    baseline: EvalArm
    output: Path
    scorer: Scorer
    max_drop: float
    request: dict[str, Any]
    concurrency: int = 8
    timeout_s: float = 120.0
    limit: int | None = None
    judge: EvalJudge | None = None

    @property
    def arms(self) -> tuple[EvalArm, EvalArm]:
        """Candidate and baseline."""
        return self.candidate, self.baseline


class Ask(NamedTuple):
    """One request of the run; `again`: how often the same one came before."""

    arm: EvalArm
    body: bytes
    again: int

    @property
    def key(self) -> str:
        """By which its answer is found."""
        return key_of(self.arm.arm, self.arm.base_url, self.body, self.again)


def evaluate(plan: EvalPlan, prompts_file: Path, progress: Callable[[int, int], None]) -> EvalReport:
    """Ask what has not been answered yet, write the report. `progress`: (answers had, wanted).

    Raises `EvaluationError` for a set that can't be read, a folder that can't be written, an arm that lets nobody in.
    """
    prompts = _read(prompts_file)[: plan.limit]
    asks = list(_asks(prompts, plan))
    try:
        plan.output.mkdir(parents=True, exist_ok=True)
        answers = asyncio.run(_answers(plan, asks, progress))
        judgements = _judgements(plan, asks, answers, progress)
        report = _report(plan, prompts, asks, answers, judgements)
        (plan.output / MARKDOWN_FILE).write_text(markdown(report), encoding="utf-8")
        (plan.output / JSON_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    except OSError as fault:
        raise EvaluationError(f"cannot write to {plan.output}: {fault.strerror}", "choose another --output") from None
    return report


def _read(prompts_file: Path) -> tuple[EvalPrompt, ...]:
    try:
        text = prompts_file.read_text(encoding="utf-8")
    except OSError as fault:
        raise EvaluationError(f"cannot read {prompts_file}: {fault.strerror}", "check the path") from None
    except UnicodeDecodeError:
        raise EvaluationError(f"{prompts_file} is not UTF-8 text", "save it as UTF-8") from None
    return read_prompts(text, str(prompts_file))


def _asks(prompts: Sequence[EvalPrompt], plan: EvalPlan) -> Iterator[Ask]:
    """Candidate and baseline in turn, prompt by prompt, so that both meet the same hours."""
    seen: dict[tuple[str, bytes], int] = {}
    for prompt in prompts:
        for arm in plan.arms:
            body = body_of(prompt, arm.model, plan.request)
            again = seen.get((arm.arm, body), 0)
            seen[arm.arm, body] = again + 1
            yield Ask(arm, body, again)


async def _answers(plan: EvalPlan, asks: Sequence[Ask], progress: Callable[[int, int], None]) -> dict[str, EvalAnswer]:
    """Answers by key: those of an earlier run, and those made now, each written before the next is begun."""
    path = plan.output / ANSWERS_FILE
    found = decode_lines(path.read_bytes().splitlines()) if path.exists() else {}
    missing = iter([ask for ask in asks if ask.key not in found])
    had = sum(ask.key in found for ask in asks)
    progress(had, len(asks))

    async def work(asker: Asker, file: BinaryIO) -> None:
        nonlocal had
        for ask in missing:
            answer = await asker.ask(ask.arm, ask.body, ask.again)
            found[answer.key] = answer
            file.write(encode_line(answer))
            file.flush()
            had += 1
            progress(had, len(asks))

    with path.open("ab") as file:
        file.write(b"\n")  # after a line that an earlier end tore
        async with Asker(plan.timeout_s) as asker:
            await _together(work(asker, file) for _ in range(plan.concurrency))
    return found


async def _together(works: Iterable[Coroutine[None, None, None]]) -> None:
    """Until all are done; the first fault ends them all, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in works:
                group.create_task(each)
    except BaseExceptionGroup as faults:
        raise faults.exceptions[0] from None


def _judgements(
    plan: EvalPlan, asks: Sequence[Ask], answers: dict[str, EvalAnswer], progress: Callable[[int, int], None]
) -> dict[int, Judgement]:
    """By number of the prompt; none of those to which the baseline has no answer."""
    if plan.judge is None:
        return {}
    pairs = [(answers[ours.key], answers[theirs.key]) for ours, theirs in zip(asks[::2], asks[1::2], strict=True)]
    wanted = {
        number: ToJudge(asks[2 * number].body, None if ours.problem is not None else ours.text, theirs.text)
        for number, (ours, theirs) in enumerate(pairs)
        if theirs.problem is None
    }
    found = judgements_of(plan.judge, list(wanted.values()), plan.output / JUDGEMENTS_FILE, progress)
    return dict(zip(wanted, found, strict=True))


def _report(
    plan: EvalPlan,
    prompts: Sequence[EvalPrompt],
    asks: Sequence[Ask],
    answers: dict[str, EvalAnswer],
    judgements: dict[int, Judgement],
) -> EvalReport:
    pairs = zip(asks[::2], asks[1::2], strict=True)
    trials = [
        Trial(prompt, *(judged(prompt, ask.body, answers[ask.key], plan.scorer) for ask in both))
        for prompt, both in zip(prompts, pairs, strict=True)
    ]
    names = plan.candidate.name, plan.baseline.name
    said = None
    if plan.judge is not None:
        grouped = [(prompts[number].group, each) for number, each in judgements.items()]
        said = report_wins(plan.judge.name, grouped, plan.max_drop)
    report = sum_up(trials, names, (plan.candidate.price, plan.baseline.price), plan.max_drop, said)
    asked = (answers[ask.key] for ask in asks)
    return replace(report, gpu_time=gpu_time(asked, plan.concurrency, plan.candidate.gpus, plan.baseline.gpus))
