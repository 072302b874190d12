from rollout.gates_bench.scenarios import SCENARIOS, Truth


def test_every_scenario_has_a_name_and_there_is_one_for_every_truth() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert {scenario.truth for scenario in SCENARIOS} == set(Truth)


def test_an_a_a_scenario_has_no_effect() -> None:
    for scenario in SCENARIOS:
        if scenario.name.startswith("A/A"):
            effects = (scenario.quality, scenario.slowdown, scenario.error_ratio, scenario.coupling, scenario.lost)
            assert scenario.more_errors == 0.0
            assert effects == (0.0, 1.0, 1.0, 0.0, 0.0)
