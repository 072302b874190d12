"""The metrics that gates of source evidence may ask for, by name."""

from __future__ import annotations

METRICS = frozenset({"errors", "form", "judge", "thumbs", "ttft_p50", "ttft_p95", "itl_p95", "total_p95"})
"""Failed requests; free checks of the answer's form; scores of a judge; callers' ratings; latency quantiles."""

MEASURED: frozenset[str] = frozenset()
"""Those of them that a running gateway measures: a gate that asks for another one holds its ramp."""
