"""What an operator does before a gateway is measured: half of the traffic to the candidate, by hand or in a ramp."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from loadtests.bench.errors import BenchError
from loadtests.bench.subjects import AGE_S, FEATURE, KEY

_SHARE_MILLIPCT = 50_000
_LIMIT_S = 10
_METRICS = ("errors", "ttft_p95", "total_p95")
_GATE = {"source": "evidence", "margin": 0.1, "alpha": 0.05}
RAMP = {
    # Each request is a unit of its own: more cost evidence can't be had for.
    "bucketBy": "request",
    "evidence": {"age": f"{AGE_S}s"},
    "ramp": {"steps": [{"share": _SHARE_MILLIPCT, "bake": "1d"}, {"share": 100_000, "bake": "1d"}], "cooldown": "1h"},
    "gates": [
        {"name": f"{metric}-{kind}", "kind": kind, "metric": metric, "role": role, **_GATE}
        for metric in _METRICS
        for kind, role in (("noninferiority", "soft"), ("harm", "hard"))
    ],
    "rollback": {"mode": "instant"},
}
"""Proof and harm of three metrics."""


def split_traffic(admin_port: int) -> None:
    """Give the candidate half of the traffic, so that the split is part of what is measured. Raises `BenchError`."""
    revision, _ = _call(admin_port, "GET", f"/features/{FEATURE}")
    change = {"share_millipct": _SHARE_MILLIPCT, "reason": "benchmark"}
    _call(admin_port, "PUT", f"/features/{FEATURE}/share", change, revision)


def begin_ramp(admin_port: int) -> None:
    """Give the candidate half of the traffic in a ramp that gathers evidence of each request. Raises `BenchError`."""
    revision, shown = _call(admin_port, "GET", f"/features/{FEATURE}")
    flag = {"candidate": shown["candidate"], "baseline": shown["baseline"], **RAMP}
    _call(admin_port, "PUT", "/documents?reason=benchmark", {"x-rollouts": {FEATURE: flag}})
    revision, _ = _call(admin_port, "GET", f"/features/{FEATURE}")
    _call(admin_port, "POST", f"/features/{FEATURE}/ramp/start", {"reason": "benchmark"}, revision)


def _call(
    admin_port: int, method: str, path: str, body: dict[str, Any] | None = None, revision: str = ""
) -> tuple[str, dict[str, Any]]:
    """The answer's ETag and body."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    if revision:
        headers["if-match"] = revision
    url = f"http://127.0.0.1:{admin_port}/api/v1{path}"
    content = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, content, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=_LIMIT_S) as answer:  # noqa: S310  loopback
            return answer.headers["etag"] or "", json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise BenchError(f"the gateway refused {method} {path}: {error}", "see the gateway's log") from None
