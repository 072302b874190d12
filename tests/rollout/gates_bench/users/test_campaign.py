from multiprocessing.pool import ThreadPool
from pathlib import Path

from rollout.core.evidence import clusters
from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.users import ramp
from rollout.gates_bench.users.campaign import SOURCES, UsersCampaign
from rollout.gates_bench.users.world import SCENARIOS

HARM = next(each for each in SCENARIOS if each.truth is Truth.HARM)


def test_a_campaign_goes_on_with_the_runs_that_are_kept(tmp_path: Path) -> None:
    with ThreadPool(1) as pool:
        one = UsersCampaign(pool, 1, tmp_path).row(HARM)
        two = UsersCampaign(pool, 2, tmp_path).row(HARM)
        assert UsersCampaign(pool, 2).row(HARM) == two
    assert (one.rolled_back.runs, two.rolled_back.runs) == (1, 2)
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_runs_are_kept_by_what_decides_them() -> None:
    assert {clusters, ramp} <= set(SOURCES)
