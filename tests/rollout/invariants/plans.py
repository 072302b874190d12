"""Ramps as people write them, right and wrong: what validation must refuse, and what it must warn of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from rollout.core import ramp_plan
from rollout.core.codec import parse_document
from rollout.core.errors import InvalidDocument
from rollout.core.ramp_plan import Findings
from tests.examples import fewer

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN = ("score", "latency", "success")
THRESHOLD = {
    "name": "errors", "role": "hard", "source": "promql", "kind": "threshold", "query": "q", "limit": 0.02,
    "failure": {"count": 3},
}  # fmt: skip
EVIDENCE = {
    "name": "quality", "role": "soft", "source": "evidence", "kind": "noninferiority", "metric": "score",
    "margin": 0.02, "alpha": 0.05,
}  # fmt: skip

steps = st.lists(st.integers(1_000, 100_000), min_size=2, max_size=5, unique=True).map(
    lambda shares: [{"share": share, "bake": "10m", "min_samples": 0} for share in sorted(shares)]
)
ramps = steps.map(lambda given: {"steps": given})
places = st.integers(0, 1)


def judged(ramp: dict[str, Any], gates: list[dict[str, Any]], units_per_s: float | None = None) -> Findings:
    """What becomes of it on its way in: refused as a document, or what validation finds."""
    entry = {"candidate": "x", "baseline": "y", "ramp": ramp, "gates": gates}
    try:
        flag = parse_document({"x-rollouts": {"f": entry}})["f"]
    except InvalidDocument as fault:
        return Findings((fault.cause,))
    assert flag.ramp is not None
    return ramp_plan.validate(flag.ramp, flag.gates, flag.rollback, known_metrics=KNOWN, units_per_s=units_per_s)


def _with_steps(ramp: dict[str, Any], changed: list[dict[str, Any]]) -> dict[str, Any]:
    return {**ramp, "steps": changed}


def _at(ramp: dict[str, Any], place: int, **changes: Any) -> dict[str, Any]:
    return _with_steps(ramp, [step | (changes if index == place else {}) for index, step in enumerate(ramp["steps"])])


WRONG: dict[str, Callable[[dict[str, Any], int], tuple[dict[str, Any], list[dict[str, Any]]]]] = {
    "falling": lambda ramp, _: (_with_steps(ramp, ramp["steps"][::-1]), [THRESHOLD]),
    "level": lambda ramp, place: (_at(ramp, place, share=ramp["steps"][1 - place]["share"]), [THRESHOLD]),
    "unknown metric": lambda ramp, _: (ramp, [EVIDENCE | {"metric": "scroe"}]),
    "no failure rule": lambda ramp, _: (ramp, [{k: v for k, v in THRESHOLD.items() if k != "failure"}]),
    "no limit": lambda ramp, _: (ramp, [THRESHOLD | {"limit": None}]),
    "no margin": lambda ramp, _: (ramp, [EVIDENCE | {"margin": None}]),
    "no bake": lambda ramp, place: (_at(ramp, place, bake="0s"), [EVIDENCE]),
    "no bake, hard": lambda ramp, place: (_at(ramp, place, bake="0s"), [THRESHOLD]),
    "misspelt field": lambda ramp, place: (_at(ramp, place, min_sample=10), [THRESHOLD]),
}


@fewer(50)
@given(ramps, st.sampled_from(sorted(WRONG)), places)
def what_is_wrong_is_refused_and_nothing_else(ramp: dict[str, Any], wrong: str, place: int) -> None:
    assert judged(ramp, [THRESHOLD, EVIDENCE]).faults == ()
    assert judged(*WRONG[wrong](ramp, place)).faults != (), wrong


@fewer(50)
@given(ramps, places, st.integers(1, 100_000), st.floats(0.001, 1_000))
def samples_that_cannot_come_in_time_are_warned_of(
    ramp: dict[str, Any], place: int, wanted: int, units_per_s: float
) -> None:
    limited = _at(ramp, place, min_samples=wanted, max_duration="1h")
    come = units_per_s * ramp["steps"][place]["share"] / 100_000 * 3_600
    warned = [each for each in judged(limited, [THRESHOLD], units_per_s).warnings if "samples need" in each]
    if abs(come - wanted) > 1e-6 * wanted:
        assert (warned != []) == (come < wanted)
    assert not any("samples need" in each for each in judged(limited, [THRESHOLD]).warnings)
