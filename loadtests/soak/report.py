"""A soak as Markdown and as JSON (pure)."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from loadtests.soak.samples import GAUGES
from loadtests.soak.tally import problems_of, summed
from loadtests.soak.verdict import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.soak.run import Result
    from loadtests.soak.samples import Sample

_ROWS = 12
_PROBLEMS = 20


def document(result: Result) -> dict[str, Any]:
    """Everything, as plain data."""
    plan, evidence = result.plan, result.evidence
    return {
        "held": result.held,
        "plan": {
            "duration_s": plan.duration_s,
            "workers": plan.workers,
            "drivers": plan.drivers,
            "share_of_peak": plan.share_of_peak,
            "seed": plan.seed,
            "stream_share": plan.mix.stream_share,
            "leave_share": plan.mix.leave_share,
        },
        "peak_per_s": round(result.peak, 1),
        "made_per_s": round(sum(each.made / each.seconds for each in evidence.tallies), 1),
        "checks": [check._asdict() for check in result.checks],
        "fates": {
            name: {fate.name.lower(): count for fate, count in sorted(summed(evidence.tallies, left=left).items())}
            for name, left in (("kept", False), ("left", True))
        },
        "problems": dict(problems_of(evidence.tallies).most_common(_PROBLEMS)),
        "faults": [each["faults"] for each in result.simulators],
        "simulators": [each["requests"] for each in result.simulators],
        "samples": [_sample(each) for each in (evidence.before, *evidence.samples, evidence.after)],
    }


def markdown(result: Result) -> str:
    """The same for readers: verdict, checks, what became of the calls, figures over time."""
    found = document(result)
    lines = [
        "# Soak",
        "",
        _introduction(result, found),
        "",
        f"**{'Held' if result.held else 'FAILED'}.**",
        "",
        "| check | | figures |",
        "| --- | --- | --- |",
        *(f"| {each.name} | {'ok' if each.held else '**no**'} | {each.figures} |" for each in result.checks),
        "",
        "| calls | " + " | ".join(_fate_names(found)) + " |",
        "| --- |" + " ---: |" * len(_fate_names(found)),
        *(
            f"| {name} | " + " | ".join(f"{fates.get(fate, 0):,}" for fate in _fate_names(found)) + " |"
            for name, fates in found["fates"].items()
        ),
        "",
        "What callers were told: "
        + (", ".join(f"{problem} ({count:,})" for problem, count in found["problems"].items()) or "nothing")
        + ".",
        "",
        f"| s | workers MB | supervisor MB | workers CPU | sockets | {' | '.join(GAUGES)} |",
        "| ---: |" + " ---: |" * (4 + len(GAUGES)),
        *_rows([result.evidence.before, *result.evidence.samples, result.evidence.after]),
        "",
    ]
    return "\n".join(lines)


def _introduction(result: Result, found: dict[str, Any]) -> str:
    plan = result.plan
    return (
        f"{plan.duration_s:.0f} s at {found['made_per_s']:,.0f} calls/s, {plan.share_of_peak:.0%} of the peak of "
        f"{found['peak_per_s']:,.0f} that {plan.drivers} process(es) of callers, {plan.workers} worker(s) and two "
        f"simulators reached together on this machine. {plan.mix.leave_share:.0%} of the calls are left at a random "
        "phase; both simulators reset, cut, stall, slow down, flap and answer 429, 500 and 503."
    )


def _fate_names(found: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for fates in found["fates"].values() for name in fates))


def _rows(samples: Sequence[Sample]) -> list[str]:
    """The first and the last sample, and medians of what lies between in equal parts."""
    between = samples[1:-1]
    size = max(1, -(-len(between) // _ROWS))
    parts = [between[start : start + size] for start in range(0, len(between), size)]
    return [_row([samples[0]]), *map(_row, parts), _row([samples[-1]])]


def _row(part: Sequence[Sample]) -> str:
    elapsed_s = part[-1].at_s - part[0].at_s
    cpu = f"{(part[-1].workers.cpu_s - part[0].workers.cpu_s) / elapsed_s:.0%}" if elapsed_s else ""
    cells = [
        f"{part[-1].at_s:.0f}",
        f"{median(each.workers.rss_bytes for each in part) / MB:.1f}",
        f"{median(each.supervisor.rss_bytes for each in part) / MB:.1f}",
        cpu,
        f"{median(each.workers.sockets + each.supervisor.sockets for each in part):.0f}",
        *(f"{median(each.gauges[name] for each in part):.0f}" for name in GAUGES),
    ]
    return f"| {' | '.join(cells)} |"


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "at_s": round(sample.at_s, 1),
        "supervisor": sample.supervisor._asdict(),
        "workers": sample.workers._asdict(),
        **sample.gauges,
    }
