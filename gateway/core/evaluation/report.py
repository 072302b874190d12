"""A report as Markdown. What models wrote is shown as text, cut, and can't become markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.cost import PICOUSD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.evaluation.gpu_time import GpuTime
    from gateway.core.evaluation.summary import ArmReport, EvalReport, Example, GroupReport
    from gateway.core.evaluation.wins import JudgeReport, WinReport

SHOWN_CHARS = 600
_VERDICTS = {
    "passed": "passed: the candidate is not worse by more than {limit}",
    "failed": "FAILED: the candidate is worse by more than {limit}",
    "undecided": "undecided: {limit} worse can be neither shown nor ruled out",
}


def markdown(report: EvalReport) -> str:
    """The whole report."""
    return "\n".join(_lines(report)) + "\n"


def headline(report: EvalReport) -> str:
    """The verdict in one line."""
    total = report.total
    text = _VERDICTS[report.verdict].format(limit=_points(report.max_drop))
    failed = [_inline(name) for name, group in report.features.items() if group.verdict == "failed"]
    if failed:
        text += f" in {', '.join(failed)}"
    if report.verdict == total.verdict == "undecided":
        text += _why_undecided(total)
    left_out = f" ({total.uncompared} left out: the baseline has no answer)" if total.uncompared else ""
    said = "" if report.judge is None else f"; by the judge {_difference(report.judge.total)}"
    return f"{text}; difference {_difference(total)}, {total.pairs.total} prompts{left_out}{said}"


def _why_undecided(total: GroupReport) -> str:
    arms = (total.candidate, total.baseline)
    if all(arm.failed == arm.asked for arm in arms):
        return ": neither arm has answered"
    if not any(arm.good for arm in arms):
        return ": neither arm has a good answer, look at the references and the scorer"
    return "" if total.prompts_to_decide is None else f" (about {total.prompts_to_decide} prompts would decide)"


def _lines(report: EvalReport) -> Iterator[str]:
    yield f"# {_inline(report.candidate)} against {_inline(report.baseline)}"
    yield ""
    yield f"**{headline(report)}.**"
    yield ""
    yield "Good: right by its reference, or without fault where there is none; no answer is not good."
    yield "Prompts to which the baseline has no answer are left out of the difference."
    yield "Difference: candidate minus baseline on the same prompts, 95 % interval (Newcombe 1998, method 10)."
    yield ""
    yield "| prompts | | good | right | failed | difference | verdict |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for name, group in [*report.features.items(), ("all", report.total)]:
        yield from _group(_inline(name), group)
    yield ""
    if report.judge is not None:
        yield from _wins(report.judge)
        yield ""
    yield from _faults(report.total)
    yield ""
    yield from _speed(report.total)
    yield from _gpus(report.gpu_time)
    yield from _examples(report)


def _group(name: str, group: GroupReport) -> Iterator[str]:
    difference, verdict = _difference(group), group.verdict
    yield f"| {name} | candidate | {_rates(group.candidate)} | {difference} | {verdict} |"
    yield f"| | baseline | {_rates(group.baseline)} | | |"


def _rates(arm: ArmReport) -> str:
    right = _ratio(arm.right, arm.scored)
    return f"{_ratio(arm.good, arm.asked)} | {right} | {arm.failed} of {arm.asked}"


def _wins(said: JudgeReport) -> Iterator[str]:
    yield f"## What judge {_inline(said.judge)} says"
    yield ""
    yield "Both answers in both orders; a win holds in both, else it is even. Win rate: ties are half a win."
    yield "Difference: win rate less one half, 95 % interval (Tango 1998). No answer of the candidate is a loss."
    if len(said.versions) > 1:
        yield f"The judge answered as {len(said.versions)} models: nothing is decided."
    yield ""
    yield "| prompts | won | lost | even | no verdict | difference | verdict |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for name, group in [*said.features.items(), ("all", said.total)]:
        wins, missed = group.wins, sum(group.lost.values())
        cells = f"{wins.candidate} | {wins.baseline} | {wins.even} | {missed} | {_difference(group)} | {group.verdict}"
        yield f"| {_inline(name)} | {cells} |"
    if said.total.lost:
        yield ""
        yield f"No verdict: {', '.join(f'{_inline(why)} {n}' for why, n in said.total.lost.items())}."


def _faults(total: GroupReport) -> Iterator[str]:
    yield "| fault | candidate | baseline |"
    yield "| --- | ---: | ---: |"
    for name, found in total.candidate.faults.items():
        yield f"| {name} | {_of(found)} | {_of(total.baseline.faults[name])} |"
    for problem in sorted({*total.candidate.problems, *total.baseline.problems}):
        counts = (arm.problems.get(problem, 0) for arm in (total.candidate, total.baseline))
        yield f"| no answer: {_inline(problem)} | {' | '.join(map(str, counts))} |"


def _speed(total: GroupReport) -> Iterator[str]:
    yield "| | ttft p50 | p95 | total p50 | p95 | prompt tokens | completion tokens | cost |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, arm in (("candidate", total.candidate), ("baseline", total.baseline)):
        times = (arm.ttft_p50_s, arm.ttft_p95_s, arm.total_p50_s, arm.total_p95_s)
        cells = [*map(_seconds, times), str(arm.prompt_tokens), str(arm.completion_tokens), _money(arm)]
        yield f"| {name} | {' | '.join(cells)} |"


def _gpus(time: GpuTime | None) -> Iterator[str]:
    """A run asks for little at once, so its GPU time says nothing of what a request costs under full load."""
    if time is not None and time.known:
        arms = (("candidate", time.candidate_picousd), ("baseline", time.baseline_picousd))
        paid = (f"{name} ${picousd / PICOUSD:.4f}" for name, picousd in arms if picousd is not None)
        yield ""
        yield f"GPU time, used or not, for the {time.run_s:.0f} s of the run: {', '.join(paid)}."


def _examples(report: EvalReport) -> Iterator[str]:
    yield ""
    yield f"## Worse than the baseline: {report.worse} (better: {report.better})"
    for example in report.examples:
        yield from _example(example)


def _example(example: Example) -> Iterator[str]:
    yield ""
    yield f"**{_inline(example.feature) or 'prompt'}** ({', '.join(map(_inline, example.why)) or 'not good'})"
    yield ""
    parts = {"prompt": example.prompt, "reference": example.reference or ""}
    parts |= {"candidate": example.candidate, "baseline": example.baseline}
    for name, text in parts.items():
        yield from _quoted(name, text)


def _quoted(name: str, text: str) -> Iterator[str]:
    """An indented block: nothing in it is markup."""
    if not text:
        return
    cut = text[:SHOWN_CHARS] + ("…" if len(text) > SHOWN_CHARS else "")
    yield f"{name}:"
    yield ""
    yield from (f"    {line}" for line in cut.splitlines())
    yield ""


def _difference(group: GroupReport | WinReport) -> str:
    if group.difference is None or group.interval is None:
        return "-"
    lower, upper = (_points(bound, "+") for bound in group.interval)
    return f"{_points(group.difference, '+')} ({lower} … {upper})"


def _points(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} points"


def _ratio(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _of(found: tuple[int, int]) -> str:
    return f"{found[0]} of {found[1]}"


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.3f} s"


def _money(arm: ArmReport) -> str:
    if arm.picousd is None:
        return "-"
    unmetered = f" ({arm.unmetered} answers without token counts)" if arm.unmetered else ""
    return f"${arm.picousd / PICOUSD:.4f}{unmetered}"


def _inline(text: str) -> str:
    """One line that breaks no table."""
    return " ".join(text.split()).replace("|", "/").replace("`", "'").replace("*", "").replace("<", "(")
