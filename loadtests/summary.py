"""A report as lines for a terminal."""

from collections.abc import Iterator

from loadtests.report import FeatureReport, Report

_HEAD = ("feature", "requests", "errors", "ttft p50", "p95", "e2e p50", "p95", "exact", "candidate")


def lines(report: Report) -> Iterator[str]:
    """Yield the summary of a run: one row for each feature, then problems, then the verdict."""
    yield _row(_HEAD)
    for name, feature in report.features.items():
        yield _row((name, *_cells(feature)))
    yield _row(("all", *_cells(report.total)))
    yield f"rate: {report.achieved_rate:.1f} of {report.asked_rate:.1f} requests/s asked"
    for problem, times in report.problems.items():
        yield f"problem: {problem} ({times} x)"
    for breach in report.breaches:
        yield f"breach: {breach}"
    yield "FAILED" if report.breaches else "ok: all thresholds held"


def _cells(feature: FeatureReport) -> tuple[str, ...]:
    times = (feature.ttft_p50_s, feature.ttft_p95_s, feature.e2e_p50_s, feature.e2e_p95_s)
    return (
        str(feature.requests),
        str(feature.errors),
        *("-" if time_s is None else f"{time_s * 1000:.0f} ms" for time_s in times),
        _percent(feature.exact_match_ratio),
        _percent(feature.candidate_share),
    )


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _row(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<22}" + "".join(f"{cell:>11}" for cell in cells[1:])
