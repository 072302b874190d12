from xml.etree import ElementTree as ET

import msgspec

from rollout.gates_bench import plots
from rollout.gates_bench.results import Results


def words(drawing: str) -> str:
    return " ".join(ET.fromstring(drawing).itertext())  # noqa: S314  our own


def test_plots_are_well_formed_and_name_what_they_show(results: Results) -> None:
    found = plots.all_of(results)
    assert set(found) == {"error-rates.svg", "exposure.svg", "e-values.svg"}
    assert all(row.scenario in words(found["error-rates.svg"]) for row in results.rows)
    assert "rival" in words(found["exposure.svg"])
    assert "errors 1 -> 5 %" in words(found["e-values.svg"])


def test_who_never_got_there_is_hollow_at_the_end(results: Results) -> None:
    late = [row for row in results.rivals if row.scenario == "late"]
    assert plots.exposure(late).count('fill="white"') == 1 + len({row.gate for row in late})


def test_plots_of_nothing_are_well_formed_too(results: Results) -> None:
    empty = msgspec.structs.replace(results, rows=[], rivals=[], paths=[])
    assert all(words(drawing) for drawing in plots.all_of(empty).values())
