import re

import pytest

from loadtests.bench import machine, procfs


def test_hardware_is_read_from_proc() -> None:
    assert machine.cpu_model("processor\t: 0\nmodel name\t: Fast  CPU @ 2GHz\nmodel name\t: x\n") == "Fast CPU @ 2GHz"
    assert machine.cpu_model("Hardware: a board\n") == "unknown"
    assert machine.memory_gb("MemTotal:       24683840 kB\nMemFree: 1 kB\n") == 24
    assert machine.memory_gb("") == 0


def test_facts_tell_versions_but_not_whose_machine_it_is() -> None:
    found = machine.facts({"peer": "1.2"})
    assert found.programs["peer"] == "1.2"
    assert re.fullmatch(r"\d+\.\d+", found.kernel)
    assert found.cores >= 1


def test_a_busy_share_is_of_the_whole_machine() -> None:
    assert machine.busy_share({0: 1.0, 1: 2.0}, {0: 2.0, 1: 2.0}, 2.0) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("spin_s", "foreign", "noisy"), [(1.0, 0.0, False), (1.15, 0.05, False), (1.16, 0.0, True), (1.0, 0.051, True)]
)
def test_a_turn_is_noisy_by_a_slow_core_or_by_others_on_it(spin_s: float, foreign: float, *, noisy: bool) -> None:
    assert machine.is_noisy(spin_s, 1.0, foreign) is noisy


def test_what_the_subject_used_is_not_foreign() -> None:
    core = min(procfs.cores_s())
    long_ago = {core: procfs.cores_s()[core] - 1.0}
    assert machine.foreign_share((core,), long_ago, own_s=0.0, wall_s=1.0) >= 1.0
    assert machine.foreign_share((core,), procfs.cores_s(), own_s=1e9, wall_s=1.0) == 0.0
