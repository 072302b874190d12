"""The flag documents of the demo's two ramps, gates in PromQL included (pure).

A gate on errors must count them by the *assigned* arm: what the candidate failed at was answered by the baseline, so
callers saw no error, and the candidate must still not get away with it.
"""

from collections.abc import Sequence
from typing import Any, Final

from loadtests.demo.layout import INHOUSE, PARTNER, TRIAL
from loadtests.demo.plan import (
    BREAKING,
    BREAKING_RAMP,
    COOLDOWN_S,
    MOVING,
    POST_MONITOR_S,
    RAMP,
    UNGATED_BAKE,
    RampStep,
)

ERRORS_GATE: Final = "candidate-errors"
ERRORS_MAX: Final = 0.1
REQUESTS_MIN: Final = {MOVING: 120, BREAKING: 10}
"""Of both arms in a step, before the gate says anything: by then the panel has been through, on any machine."""
LATENCY_GATE: Final = "candidate-p95-s"
_LATENCY_MAX_S: Final = 5.0
_PRIOR: Final = 10
"""Good requests that are added to those counted: one failure among the first three is no breach."""
_FAILS: Final = 2
_FRESH: Final = "10s"


def documents(*, gated: bool) -> dict[str, Any]:
    """Return the document of all features with a ramp: without gates only the moving one."""
    flags = {MOVING: _flag(MOVING, INHOUSE, RAMP, gated=gated)}
    if gated:
        flags[BREAKING] = _flag(BREAKING, TRIAL, BREAKING_RAMP, gated=True)
    return {"x-rollouts": flags}


def errors_query(feature: str) -> str:
    """Return the share of requests assigned to the candidate that it did not answer, or not well, in this step.

    Callers' own errors and departures count as answered. No request yet gives no number, rather than a good one.
    """
    assigned = f'glidepath_requests_total{{feature="{feature}",assigned="candidate",served!=""}}[$elapsed]'
    answered = (
        f'glidepath_requests_total{{feature="{feature}",assigned="candidate",served="candidate",'
        'outcome=~"ok|caller_error|cancelled"}[$elapsed]'
    )
    failed = f"sum(increase({assigned})) - (sum(increase({answered})) or vector(0))"
    return f"({failed}) / ({_PRIOR} + sum(increase({assigned})))"


def _flag(feature: str, candidate: str, steps: Sequence[RampStep], *, gated: bool) -> dict[str, Any]:
    factor = 1 if gated else UNGATED_BAKE
    return {
        "candidate": candidate,
        "baseline": PARTNER,
        "owner": "glidepath demo",
        "ramp": {
            "steps": [
                {"share": step.share_millipct, "bake": f"{factor * step.bake_s}s", "min_samples": step.samples_min}
                for step in steps
            ],
            "cooldown": f"{COOLDOWN_S}s",
            "post_monitor": f"{POST_MONITOR_S}s",
        },
        "gates": _gates(feature) if gated else [],
        "rollback": {"mode": "instant", "to_share": 0},
    }


def _gates(feature: str) -> list[dict[str, Any]]:
    asked = f'glidepath_requests_total{{feature="{feature}"}}'
    errors = {
        "samples": f"sum(increase({asked}[$elapsed]))",
        "min_samples": REQUESTS_MIN[feature],
        # A scrape that is looked at twice is one measurement.
        "newest": f"max(timestamp({asked}))",
        "failure": {"count": _FAILS},
    }
    return [
        _threshold(ERRORS_GATE, "hard", errors_query(feature), ERRORS_MAX) | errors,
        _threshold(LATENCY_GATE, "observe", _latency_query(feature), _LATENCY_MAX_S),
    ]


def _latency_query(feature: str) -> str:
    series = "gen_ai_server_request_duration_seconds_bucket"
    labels = f'gen_ai_request_model="copilot/{feature}",glidepath_arm="candidate"'
    return f"histogram_quantile(0.95, sum by (le) (rate({series}{{{labels}}}[$elapsed])))"


def _threshold(name: str, role: str, query: str, limit: float) -> dict[str, Any]:
    kind = {"source": "promql", "kind": "threshold", "query": query, "limit": limit, "max_age": _FRESH}
    return {"name": name, "role": role} | kind
