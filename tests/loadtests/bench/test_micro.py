import os

import pytest

from loadtests.bench import micro
from loadtests.bench.errors import BenchError

CORE = min(os.sched_getaffinity(0))


def test_raw_times_are_divided_by_the_loops() -> None:
    text = "raw times: 2.5e+03 usec, 3e+03 usec, 12 usec\n\n10 loops, best of 3: 1.2 usec per loop\n"
    assert micro.parse(text) == pytest.approx([250e-6, 300e-6, 1.2e-6])
    assert micro.parse("raw times: 5 usec\n\n1 loop, best of 1: 5 usec per loop\n") == pytest.approx([5e-6])


def test_what_holds_no_times_is_an_error() -> None:
    with pytest.raises(BenchError, match="no times"):
        micro.parse("usage: timeit")


def test_a_statement_that_fails_is_named() -> None:
    with pytest.raises(BenchError) as raised:
        micro.timed("nothing_such", "pass", number=1, repeats=1, core=CORE)
    assert "nothing_such" in raised.value.hint


def test_a_decision_is_timed_in_a_process_of_its_own() -> None:
    found = micro.decision_s(CORE, repeats=2)
    assert len(found) == 2
    assert all(0 < each < 1e-3 for each in found)
    assert micro.spin_s(CORE) > 0
