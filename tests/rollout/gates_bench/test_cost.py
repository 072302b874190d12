from rollout.gates_bench import cost


def test_an_outcome_costs_something() -> None:
    assert cost.cost_us() > 0.0
