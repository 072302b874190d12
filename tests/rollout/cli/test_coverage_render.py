from typing import Any

import pytest

from rollout.cli.coverage_render import coverage_line

QUIET = {"judged": 100, "left_out": 0, "rated": None}

LONG = (
    "gate fine: units left out: candidate 0 of 9, 0.0%, baseline 1 of 10, 10.0% (at most 5%); "
    "rated: candidate 1 of 9, 11.1%, baseline 7 of 9, 77.8%"
)


def verdict(candidate: dict[str, Any], baseline: dict[str, Any] = QUIET, of: str = "units") -> dict[str, Any]:
    arms = {"candidate": QUIET | candidate, "baseline": QUIET | baseline}
    return {"gate": "fine", "coverage": {"of": of, "limit": 0.05, **arms}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gate": "fine"}, ""),
        ({"gate": "fine", "coverage": None}, ""),
        (verdict({}), ""),
        (
            verdict({"left_out": 25}),
            "gate fine: units left out: candidate 25 of 125, 20.0%, baseline 0 of 100, 0.0% (at most 5%)",
        ),
        (
            verdict({"judged": 0, "left_out": 12}, {"judged": 0}, "shadow calls"),
            "gate fine: failed shadow calls: candidate 12 of 12, 100.0%, baseline 0 of 0 (at most 5%)",
        ),
        (
            verdict({"rated": 1}, {"rated": 7}),
            "gate fine: rated: candidate 1 of 100, 1.0%, baseline 7 of 100, 7.0%",
        ),
        (
            verdict({"judged": 9, "rated": 1}, {"judged": 9, "rated": 7, "left_out": 1}),
            LONG,
        ),
    ],
)
def test_a_line_is_what_stands_behind_a_gate(given: dict[str, Any], said: str) -> None:
    assert coverage_line(given) == said
