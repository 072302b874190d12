from xml.etree import ElementTree as ET

import pytest

from rollout.gates_bench.svg import Axis, dot, drawing, line, polyline, text


def test_an_axis_maps_and_keeps_what_is_beyond_on_its_end() -> None:
    axis = Axis((0.0, 10.0), (100.0, 200.0))
    assert [axis.at(value) for value in (-5.0, 0.0, 5.0, 99.0)] == [100.0, 100.0, 150.0, 200.0]
    by_logarithm = Axis((1.0, 100.0), (0.0, 100.0), log=True)
    assert [by_logarithm.at(value) for value in (0.0, 10.0, float("inf"))] == [0.0, 50.0, 100.0]


def test_a_drawing_is_well_formed_whatever_the_words() -> None:
    elements = [
        text(1, 2, "a < b & c", anchor="end"),
        line((0, 0), (1, 1), dashed=True),
        dot(1, 1, "red"),
        dot(1, 1, "red", hollow=True),
        polyline([(0, 0), (1, 2)], "blue"),
    ]
    root = ET.fromstring(drawing(10, 20, elements, "<title>"))  # noqa: S314  our own
    assert root.get("viewBox") == "0 0 10 20"
    assert len(root) == 7
    assert "a < b & c" in "".join(root.itertext())


def test_an_axis_of_no_length_is_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        Axis((1.0, 1.0), (0.0, 1.0)).at(1.0)
