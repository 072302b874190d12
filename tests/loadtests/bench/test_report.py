import pytest

from loadtests.bench.report import Figure, ratio, rows, table

FIGURES = [
    Figure(turn, "plain", name, 64, speed, 30.0, 0.001, 0.002, failures)
    for turn, name, speed, failures in [
        (0, "nginx", 100.0, 0),
        (0, "glidepath", 10.0, 1),
        (1, "glidepath", 60.0, 0),
        (2, "glidepath", 50.0, 2),
        (0, "router", 20.0, 0),
        (1, "router", 40.0, 0),
        (2, "router", 40.0, 0),
    ]
]


def test_rows_are_medians_fastest_first() -> None:
    found = rows(FIGURES, "plain", 64)
    assert [(row.subject, row.requests_per_s, row.failures) for row in found] == [
        ("nginx", 100.0, 0),
        ("glidepath", 50.0, 3),
        ("router", 40.0, 0),
    ]
    assert rows(FIGURES, "plain", 16) == rows(FIGURES, "stream", 64) == []


def test_a_ratio_is_the_median_of_the_ratios_within_turns() -> None:
    assert ratio(FIGURES, "plain", 64, "glidepath", "router") == pytest.approx(1.25)
    assert ratio(FIGURES, "plain", 64, "glidepath", "nginx") == pytest.approx(0.1)
    assert ratio(FIGURES, "plain", 64, "glidepath", "absent") is None


def test_the_table_shows_every_subject_with_its_ratio() -> None:
    lines = table(FIGURES, "glidepath").splitlines()
    assert lines[0] == "### plain, 64 connections, one core"
    assert [line.split("|")[1:4] for line in lines[4:]] == [
        [" nginx ", " 100 ", " 0.10 x "],
        [" glidepath ", " 50 ", "  "],
        [" router ", " 40 ", " 1.25 x "],
    ]
