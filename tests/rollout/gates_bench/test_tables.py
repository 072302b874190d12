from rollout.gates_bench import tables
from rollout.gates_bench.results import Results


def test_every_table_has_a_line_for_what_it_is_about(results: Results) -> None:
    found = tables.all_of(results)
    assert set(found) == {"rates", "targets", "ends", "harm", "rivals", "sweep", "command"}
    lines = {name: text.splitlines() for name, text in found.items()}
    assert [len(lines[name]) - 2 for name in ("rates", "ends", "harm", "rivals")] == [3, 4, 2, 3]
    assert len({line.count("|") for line in lines["harm"]}) == 1


def test_how_figures_are_written(results: Results) -> None:
    found = tables.all_of(results)
    assert "| missed harm | ≤ 1% | 0 (≤ 49.0%) | open | errors 1 -> 5 % |" in found["targets"]
    assert "| wrong promotion at the margin | ≤ 5% | 25.0% (4.6% to 69.9%) | open |" in found["targets"]
    assert "| exposure to 5 % errors, candidate requests | ≤ 350 | 206 (206 to 206) | met |" in found["targets"]
    assert "∞" in found["harm"]
    assert "| errors 1 -> 5 % | 75% (30) | 75% (30) |" in found["rivals"]
    assert "| A/A | 25% | 25% |" in found["rivals"]
    assert "| rival | 20% | 25.0% (4.6% to 69.9%) | 38% | 0% |" in found["sweep"]
    assert "| engine | - |" in found["sweep"]
    assert results.command in found["command"]
    assert "4 runs of each scenario, the last in 2 min on 2 processes." in found["command"]
    assert "Of all 4 ramps of a fine candidate 0 were rolled back." in found["command"]


def test_without_rivals_their_tables_are_empty(results: Results) -> None:
    assert tables.sweep([]).count("\n") == 2
    assert tables.sweep(results.rivals[:1]).count("\n") == 2, "nothing to compare with"
