import pytest

from loadtests.bench.plan import PLANS, Plan


@pytest.mark.parametrize("plan", PLANS.values(), ids=lambda plan: plan.name)
def test_every_size_measures_everything(plan: Plan) -> None:
    sizes = [each.workload.name for each in plan.plain]
    assert sizes[0] == "1 KB request"
    assert "100 KB request" in sizes
    assert plan.streams[0].workload.name == "stream of 64 events"
    assert plan.paced.workload.name == "paced stream of 64 events"
    assert 2 in plan.workers
    assert plan.rates_per_s
    assert plan.idle_streams >= 100


@pytest.mark.parametrize("name", ["default", "full"])
def test_what_is_published_has_turns_enough_for_an_interval_and_the_rates_of_the_goals(name: str) -> None:
    plan = PLANS[name]
    assert min(each.turns for each in (*plan.plain, *plan.streams, plan.paced)) >= 6
    assert min(plan.scaling_turns, plan.rate_turns) >= 6
    assert 1_000 in plan.rates_per_s
    assert (plan.idle_streams, plan.workers) == (10_000, (2, 4))
