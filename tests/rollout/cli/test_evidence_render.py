from io import StringIO
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from rollout.api.state_views import verdict_view
from rollout.cli.evidence_render import WIDTH, cells_of, evidence_line, evidence_table, has_estimate
from rollout.core.gates import NOT_ASKED, Estimate, Result, Verdict

SEEN = Estimate(-0.0042, -0.0313, 0.0229, 0.05, 0.0287, 7_200.0, 0.63)
VERDICT = Verdict(
    "fine", Result.INCONCLUSIVE, "effect", 9.0, 1.0, value=12.44, limit=32.9, samples=1_234, estimate=SEEN
)
EMPTY = Verdict("worse", Result.NO_DATA, "0 of 1 units", 9.0, 1.0, estimate=Estimate())


def shown(verdict: Verdict) -> dict[str, Any]:
    return verdict_view(verdict).model_dump(mode="json")


def printed(*verdicts: Verdict, width: int = WIDTH) -> list[str]:
    out = StringIO()
    Console(file=out, width=width).print(evidence_table([shown(each) for each in verdicts]))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_each_gate_has_a_line_with_its_numbers_in_columns() -> None:
    assert printed(VERDICT, EMPTY) == [
        "gate  says      effect        between margin excluded e-value of units decided in",
        "fine  UNDECIDED -0.004 -0.031..+0.023   0.05   0.0287      12 33  1234        2 h",
        "worse NO_DATA        -              -      -        -       -  -     -          -",
    ]


def test_where_there_is_no_room_for_columns_it_is_said_in_a_sentence() -> None:
    assert [evidence_line(shown(each)) for each in (VERDICT, EMPTY)] == [
        (
            "gate fine: UNDECIDED, effect -0.004 (-0.031..+0.023), margin 0.05, excluded 0.0287, e-value 12 of 33, "
            "1234 units, decided in 2 h"
        ),
        "gate worse: NO_DATA",
    ]
    alone = Verdict("floor", Result.PASS, "", 9.0, value=0.9, estimate=Estimate(effect=0.98))
    assert evidence_line(shown(alone)) == "gate floor: PASS, effect +0.980, e-value 0.9"
    assert evidence_line(shown(Verdict("g", Result.PASS, "", 9.0, limit=33.0, samples=0, estimate=Estimate()))) == (
        "gate g: PASS, 0 units"
    )


def test_a_pass_that_nothing_was_measured_for_says_so() -> None:
    rest = Verdict("fine", Result.PASS, f"{NOT_ASKED}: everybody has the candidate", 9.0, value=1.0, estimate=SEEN)
    assert cells_of(shown(rest))[1] == "not asked"


@pytest.mark.parametrize("name", ["a" * 64, "no-slower-at-p95-than-the-partner"])
def test_no_line_is_wider_than_it_should_be(name: str) -> None:
    far = Estimate(-1.0, -1.0, 1.0, 0.125, 0.00004567, 123_456.0, 1e300)
    wide = Verdict(name, Result.INCONCLUSIVE, "", 9.0, 1.0, value=1e299, limit=1e5, samples=1_234_567, estimate=far)
    lines = printed(wide)
    assert max(map(len, lines)) <= WIDTH
    assert "".join(line.split()[0] for line in lines[1:]) == name


@pytest.mark.parametrize(
    ("value", "told"), [(None, "-"), (0.000456, "0.000456"), (1.5, "1.5"), (32.9, "33"), (3e7, "3e+07")]
)
def test_e_values_are_as_exact_as_they_matter(value: float | None, told: str) -> None:
    cells = cells_of(shown(Verdict("g", Result.PASS, "", 9.0, value=value, estimate=SEEN)))
    assert cells[6] == told


def test_gates_of_promql_have_no_estimate() -> None:
    assert has_estimate(shown(VERDICT))
    assert not has_estimate(shown(Verdict("rate", Result.PASS, "", 9.0, value=1.0)))
    assert not has_estimate({"gate": "of an older gateway"})


def test_where_users_keep_their_arm_the_bound_is_shown_that_decides() -> None:
    by_users = replace(VERDICT, value=-0.0312, limit=-0.05, estimate=replace(SEEN, by_bound=True))
    assert printed(by_users)[1].endswith("  0.0287 bound -0.031 -0.05  1234        2 h")
    assert "excluded 0.0287, bound -0.031 of -0.05, 1234 units" in evidence_line(shown(by_users))
    unknown = cells_of(shown(replace(by_users, value=None, limit=None)))
    assert unknown[6:8] == ("-", "-")


@pytest.mark.parametrize(
    ("result", "left_s", "told"),
    [
        ("PASS", 0.0, "proven"),
        ("INCONCLUSIVE", 0.0, "any time"),
        ("INCONCLUSIVE", 90.0, "1.5 min"),
        ("PASS", None, "-"),
    ],
)
def test_nothing_is_decided_in_no_time(result: str, left_s: float | None, told: str) -> None:
    verdict = replace(VERDICT, result=Result(result), estimate=replace(SEEN, expected_s=left_s))
    assert cells_of(shown(verdict))[-1] == told
    said = evidence_line(shown(verdict)).rpartition(", ")[2]
    assert said == {"proven": "proven", "-": "1234 units"}.get(told, f"decided in {told}")
