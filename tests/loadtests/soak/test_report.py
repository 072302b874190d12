import json

import pytest

from loadtests.soak.answer import Fate
from loadtests.soak.audit import Audit
from loadtests.soak.report import document, markdown
from loadtests.soak.run import Plan, Result
from loadtests.soak.samples import GAUGES, Sample, Usage
from loadtests.soak.tally import Tally
from loadtests.soak.verdict import MB, Check, Evidence


def sample(at_s: float) -> Sample:
    return Sample(at_s, Usage(60 * MB, 4, 0.0), Usage(50 * MB, 5, at_s / 2), dict.fromkeys(GAUGES, 0.0))


@pytest.fixture
def result() -> Result:
    tally = Tally("r", bytes([Fate.WHOLE, Fate.LEFT]), bytes([1, 255]), bytes([0, 1]), {"503 c": 1}, 0, 2.0)
    samples = [sample(float(at_s)) for at_s in range(1, 100)]
    evidence = Evidence([tally], Audit(), sample(0), samples, sample(100), (), (), [], 0)
    simulators = [{"faults": {"reset": 1}, "requests": {"started": 1}}]
    return Result(Plan(), 1_000.0, evidence, simulators, [Check("a", held=True, figures="1"), Check("b", False, "2")])


def test_one_check_that_failed_is_a_failure_and_shows(result: Result) -> None:
    assert not result.held
    text = markdown(result)
    assert "**FAILED.**" in text
    assert "| a | ok | 1 |" in text
    assert "| b | **no** | 2 |" in text
    assert "503 c (1)" in text
    assert "**Held.**" in markdown(result._replace(checks=result.checks[:1]))


def test_the_table_over_time_has_the_ends_and_medians_between(result: Result) -> None:
    rows = markdown(result).partition("| s | workers MB")[2].splitlines()[2:]
    assert rows[0].startswith("| 0 | 50.0 | 60.0 |  | 9 |")
    assert rows[1].split("|")[4].strip() == "50%"
    assert len(rows) == 2 + 11


def test_the_document_is_json(result: Result) -> None:
    found = json.loads(json.dumps(document(result)))
    assert found["fates"] == {"kept": {"whole": 1}, "left": {"left": 1}}
    assert (found["peak_per_s"], found["made_per_s"]) == (1_000, 1)
    assert len(found["samples"]) == 101
