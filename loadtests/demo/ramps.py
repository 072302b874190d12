"""The flag documents of the demo's ramps: gates of evidence, and for the moving feature a floor in PromQL (pure).

A floor on errors must count them by the *assigned* arm, as the evidence does: what the candidate failed at was answered
by the baseline, so callers saw no error, and the candidate must still not get away with it.
"""

from collections.abc import Collection
from typing import Any, Final

from loadtests.demo.layout import PARTNER, baseline_of, candidate_of
from loadtests.demo.partner import Partner
from loadtests.demo.plan import (
    AGE_S,
    ALPHA,
    COOLDOWN_S,
    ERRORS,
    ERRORS_HARM,
    FEEDBACK_AGE_S,
    LATENCY_HARM,
    MARGINS,
    MOVING,
    POST_MONITOR_S,
    QUALITY,
    QUALITY_HARM,
    RAMPS,
    REAL_AGE_S,
    Margins,
)

FLOOR_GATE: Final = "promql-errors"
ERRORS_MAX: Final = 0.1
REQUESTS_MIN: Final = 120
"""Of both arms in a step, before the floor says anything: by then the panel has been through, on any machine."""
_PRIOR: Final = 10
"""Good requests that are added to those counted: one failure among the first three is no breach."""
_FAILS: Final = 2
_FRESH: Final = "10s"


def documents(inhouse: Collection[str], partner: Partner, *, gated: bool) -> dict[str, Any]:
    """Return the document of all features with a ramp.

    `inhouse`: the upstreams that are served here; `gated`: with a Prometheus to ask.
    """
    return {"x-rollouts": {feature: _flag(feature, inhouse, partner, gated=gated) for feature in RAMPS}}


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


def _flag(feature: str, inhouse: Collection[str], partner: Partner, *, gated: bool) -> dict[str, Any]:
    baseline = baseline_of(feature, partner)
    real = baseline == PARTNER and not partner.simulated
    age_s, feedback_age_s = (REAL_AGE_S, REAL_AGE_S) if real else (AGE_S, FEEDBACK_AGE_S)
    return {
        "candidate": candidate_of(feature, inhouse),
        "baseline": baseline,
        "owner": "glidepath demo",
        "ramp": {
            "steps": [
                {"share": step.share_millipct, "bake": f"{step.bake_s}s", "min_samples": step.samples_min}
                for step in RAMPS[feature]
            ],
            "cooldown": f"{COOLDOWN_S}s",
            "post_monitor": f"{POST_MONITOR_S}s",
        },
        "evidence": {"age": f"{age_s}s", "feedback_age": f"{feedback_age_s}s"},
        "gates": [*_evidence(MARGINS[feature]), *([_floor(feature)] if gated and feature == MOVING else [])],
        "rollback": {"mode": "instant", "to_share": 0},
    }


def _evidence(margins: Margins) -> list[dict[str, Any]]:
    """Quality carries over from step to step; errors, which may come with load, are proven anew in each."""
    early = {"early": [{"below": below, "margin": margin} for below, margin in margins.early]} if margins.early else {}
    return [
        _gate(QUALITY, "noninferiority", "thumbs", margins.quality) | early | {"scope": "ramp"},
        _gate(ERRORS, "noninferiority", "errors", margins.errors) | early,
        _gate(QUALITY_HARM, "harm", "thumbs", margins.quality) | {"scope": "ramp"},
        _gate(ERRORS_HARM, "harm", "errors", margins.errors) | {"scope": "ramp"},
        _gate(LATENCY_HARM, "harm", margins.latency, margins.slower) | {"scope": "ramp"},
    ]


def _gate(name: str, kind: str, metric: str, margin: float) -> dict[str, Any]:
    plain = {"name": name, "role": "hard", "source": "evidence", "kind": kind}
    return plain | {"metric": metric, "margin": margin, "alpha": ALPHA}


def _floor(feature: str) -> dict[str, Any]:
    asked = f'glidepath_requests_total{{feature="{feature}"}}'
    return {
        "name": FLOOR_GATE,
        "role": "hard",
        "source": "promql",
        "kind": "threshold",
        "query": errors_query(feature),
        "limit": ERRORS_MAX,
        "max_age": _FRESH,
        "samples": f"sum(increase({asked}[$elapsed]))",
        "min_samples": REQUESTS_MIN,
        # A scrape that is looked at twice is one measurement.
        "newest": f"max(timestamp({asked}))",
        "failure": {"count": _FAILS},
    }
