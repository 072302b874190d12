"""A run summed up: each arm's rates, latency and cost, and how they differ on the same prompts.

An answer is *good* if it is right, where there is a reference to tell; else if no check found a fault in it. No answer
of the candidate is not good: it gains nothing by failing on hard prompts. Where the baseline has none there is nothing
to compare with, so the prompt is left out; too many of those, and nothing is decided. Nor is it if no answer of either
arm is good: then it is the prompts, the references or the scorer that were tried.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.checks.answer_checks import CHECKS, Checks, check
from gateway.core.checks.asked import asked
from gateway.core.checks.ending import Ending
from gateway.core.evaluation.gpu_time import GpuTime
from gateway.core.evaluation.paired import Pairs, Verdict, count_pairs, judge, newcombe, prompts_to_decide
from gateway.core.evaluation.scoring import Scorer, is_right
from gateway.core.evaluation.wins import JudgeReport, worse_of
from rollout.core.proportion import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.core.evaluation.answers import EvalAnswer
    from gateway.core.evaluation.prompt_set import EvalPrompt
    from rollout.core.cost import TokenPrice

EXAMPLES_MAX = 20
UNCOMPARED_RATIO_MAX = 0.1
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Judged(NamedTuple):
    """One answer with its verdicts. `right` is None without a reference; `checks` all None without an answer."""

    answer: EvalAnswer
    checks: Checks
    right: bool | None

    @property
    def good(self) -> bool:
        """As at the head of this module."""
        if self.answer.problem is not None:
            return False
        return not self.checks.flawed if self.right is None else self.right


class Trial(NamedTuple):
    """A prompt and both answers to it."""

    prompt: EvalPrompt
    candidate: Judged
    baseline: Judged


class ArmReport(msgspec.Struct, frozen=True):
    """One arm's figures. Rates are counts over counts; seconds of answers only; `usd` None without a price."""

    asked: int
    failed: int
    problems: dict[str, int]
    good: int
    right: int
    scored: int
    faults: dict[str, tuple[int, int]]
    """By check: how many answers had the fault, of how many that it could judge."""
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    total_p50_s: float | None
    total_p95_s: float | None
    prompt_tokens: int
    completion_tokens: int
    unmetered: int
    picousd: int | None


class GroupReport(msgspec.Struct, frozen=True):
    """All prompts, or those of one feature. `interval`: 95 %, of the difference of good answers.

    `uncompared`: prompts to which the baseline has no answer; they are in no pair.
    """

    candidate: ArmReport
    baseline: ArmReport
    pairs: Pairs
    uncompared: int
    difference: float | None
    interval: Bounds | None
    verdict: str
    prompts_to_decide: int | None


class Example(msgspec.Struct, frozen=True):
    """A prompt that the candidate answered worse."""

    feature: str
    prompt: str
    reference: str | None
    candidate: str
    baseline: str
    why: tuple[str, ...]


class EvalReport(msgspec.Struct, frozen=True):
    """A whole run. `worse`: how many prompts only the baseline answered well; `examples` holds the first of them.

    `verdict`: that of all prompts, but failed if any feature of its own has: a good one must not hide a bad one. Passed
    only if the judge, where one was asked, says so too.
    """

    candidate: str
    baseline: str
    max_drop: float
    verdict: str
    total: GroupReport
    features: dict[str, GroupReport]
    worse: int
    better: int
    examples: list[Example]
    judge: JudgeReport | None = None
    gpu_time: GpuTime | None = None


def judged(prompt: EvalPrompt, body: bytes, answer: EvalAnswer, scorer: Scorer) -> Judged:
    """Score and check one answer. `body`: the request it answers; `scorer`: for prompts that name none."""
    if answer.problem is not None:
        return Judged(answer, Checks(), None)
    checks = check(answer.text, Ending(answer.ending), asked(_FIELDS(body), "chat"))
    right = None if prompt.reference is None else is_right(prompt.scorer or scorer, answer.text, prompt.reference)
    return Judged(answer, checks, right)


def sum_up(
    trials: Sequence[Trial],
    names: tuple[str, str],
    prices: tuple[TokenPrice | None, TokenPrice | None],
    max_drop: float,
    said: JudgeReport | None = None,
) -> EvalReport:
    """The report. `names`, `prices`: of candidate and baseline; `said`: by a judge."""
    groups = sorted({trial.prompt.group for trial in trials} - {""})
    total = _group(trials, prices, max_drop)
    features = {
        name: _group([each for each in trials if each.prompt.group == name], prices, max_drop) for name in groups
    }
    failed = any(group.verdict == Verdict.FAILED.value for group in features.values())
    worse = [trial for trial in trials if trial.baseline.good and not trial.candidate.good]
    verdict = Verdict.FAILED.value if failed else total.verdict
    return EvalReport(
        *names,
        max_drop,
        verdict if said is None else worse_of(verdict, said.verdict),
        total,
        features,
        len(worse),
        total.pairs.candidate_only,
        [_example(trial) for trial in worse[:EXAMPLES_MAX]],
        said,
    )


def quantile(values: Iterable[float], q: float) -> float | None:
    """The nearest-rank quantile; None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] if ordered else None


def _group(
    trials: Sequence[Trial], prices: tuple[TokenPrice | None, TokenPrice | None], max_drop: float
) -> GroupReport:
    compared = [trial for trial in trials if trial.baseline.answer.problem is None]
    uncompared = len(trials) - len(compared)
    pairs = count_pairs((trial.candidate.good, trial.baseline.good) for trial in compared)
    interval = newcombe(pairs)
    good = pairs.total > pairs.neither
    enough = good and uncompared <= UNCOMPARED_RATIO_MAX * len(trials)
    return GroupReport(
        _arm([trial.candidate for trial in trials], prices[0]),
        _arm([trial.baseline for trial in trials], prices[1]),
        pairs,
        uncompared,
        pairs.difference,
        interval,
        judge(interval if enough else None, max_drop).value,
        prompts_to_decide(pairs, max_drop) if enough else None,
    )


def _arm(all_judged: Sequence[Judged], price: TokenPrice | None) -> ArmReport:
    answers = [each.answer for each in all_judged if each.answer.problem is None]
    prompt_tokens = sum(answer.prompt_tokens or 0 for answer in answers)
    completion_tokens = sum(answer.completion_tokens or 0 for answer in answers)
    problems = Counter(each.answer.problem for each in all_judged if each.answer.problem is not None)
    ttfts_s = [answer.ttft_s for answer in answers if answer.ttft_s is not None]
    totals_s = [answer.duration_s for answer in answers]
    return ArmReport(
        asked=len(all_judged),
        failed=len(all_judged) - len(answers),
        problems=dict(problems.most_common()),
        good=_count(all_judged, lambda each: each.good),
        right=_count(all_judged, lambda each: each.right is True),
        scored=_count(all_judged, lambda each: each.right is not None),
        faults={name: _faults([each.checks[place] for each in all_judged]) for place, name in enumerate(CHECKS)},
        ttft_p50_s=quantile(ttfts_s, 0.5),
        ttft_p95_s=quantile(ttfts_s, 0.95),
        total_p50_s=quantile(totals_s, 0.5),
        total_p95_s=quantile(totals_s, 0.95),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        unmetered=sum(answer.completion_tokens is None for answer in answers),
        picousd=None if price is None else price.of(prompt_tokens, completion_tokens),
    )


def _count(all_judged: Sequence[Judged], has: Callable[[Judged], bool]) -> int:
    return sum(has(each) for each in all_judged)


def _faults(verdicts: Sequence[bool | None]) -> tuple[int, int]:
    return sum(verdict is True for verdict in verdicts), sum(verdict is not None for verdict in verdicts)


def _example(trial: Trial) -> Example:
    candidate = trial.candidate
    problem = candidate.answer.problem
    why = (
        (problem,)
        if problem is not None
        else (("wrong",) if candidate.right is False else ()) + candidate.checks.faults
    )
    prompt = trial.prompt
    said = prompt.turns[-1].get("content")
    last = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    return Example(prompt.group, last, prompt.reference, candidate.answer.text, trial.baseline.answer.text, why)
