from xml.etree import ElementTree as ET

from loadtests.bench.plot import svg
from loadtests.bench.results import Document

SPACE = "{http://www.w3.org/2000/svg}"


def test_every_subject_of_every_workload_on_one_core_has_a_bar(document: Document) -> None:
    root = ET.fromstring(svg(document))  # noqa: S314  our own text
    texts = ["".join(each.itertext()) for each in root.iter(f"{SPACE}text")]
    assert texts[0] == "1 KB request, 64 connections: requests/s on one core"
    assert texts[1:5] == ["direct", "1,200 (glidepath 0.15 x)", "nginx", "300 (glidepath 0.60 x)"]
    assert len(list(root.iter(f"{SPACE}rect"))) == 1 + 10


def test_bars_share_a_scale_whose_end_is_the_highest_interval(document: Document) -> None:
    root = ET.fromstring(svg(document))  # noqa: S314  our own text
    bars = [float(each.attrib["width"]) for each in root.iter(f"{SPACE}rect")][1:6]
    assert bars == [282.0, 70.5, 42.3, 21.2, 14.1]
    first = next(root.iter(f"{SPACE}path")).attrib["d"]
    assert first == "M224.0 50H600.0M224.0 46v8M600.0 46v8"


def test_ours_has_a_colour_of_its_own(document: Document) -> None:
    fills = [each.attrib["fill"] for each in ET.fromstring(svg(document)).iter(f"{SPACE}rect")]  # noqa: S314
    assert [fills.index(fills[3]), fills.count(fills[3])] == [3, 2]
