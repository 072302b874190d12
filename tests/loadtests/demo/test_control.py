from collections.abc import Awaitable, Callable

import pytest

from loadtests.demo.control import Operator, engine_requests, engine_requests_of, quality_of
from loadtests.demo.errors import DemoError
from loadtests.demo.judge import Quality
from loadtests.demo.ports import free_ports
from loadtests.simulator import RunningSimulator

VLLM_PAGE = """\
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 7.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 2.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 5.0
vllm:request_success_created{engine="0",finished_reason="stop",model_name="m"} 1.7e+09
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
"""
GATEWAY_PAGE = """\
# TYPE glidepath_quality_score_sum gauge
glidepath_quality_score_sum{arm="candidate",feature="draft",kind="score"} 3.0
glidepath_quality_score_sum{arm="candidate",feature="draft",kind="rating"} 9.0
# TYPE glidepath_quality_score_units gauge
glidepath_quality_score_units{arm="candidate",feature="draft",kind="score"} 4.0
glidepath_quality_score_units{arm="baseline",feature="draft",kind="score"} 1.0
"""


def test_vllm_requests_are_those_it_answered() -> None:
    assert engine_requests_of(VLLM_PAGE) == 9
    assert engine_requests_of("") == 0


def test_quality_is_read_per_feature_and_arm_from_scores() -> None:
    assert quality_of(GATEWAY_PAGE) == {
        ("draft", "candidate"): Quality(4.0, 3.0),
        ("draft", "baseline"): Quality(1.0, 0.0),
    }


async def test_nobody_there_is_one_line() -> None:
    nowhere = f"http://127.0.0.1:{free_ports().admin}"
    async with Operator(nowhere, "k") as operator:
        with pytest.raises(DemoError, match="the operator API gave no answer"):
            await operator.set_share("draft", 0)
        with pytest.raises(DemoError, match="no metrics from /metrics"):
            await operator.quality()


async def test_a_refusal_is_one_line(simulate: Callable[..., Awaitable[RunningSimulator]]) -> None:
    simulator = await simulate()
    async with Operator(simulator.origin, "k") as operator:
        with pytest.raises(DemoError, match="refused POST /features/draft/kill: 404"):
            await operator.kill("draft")
    with pytest.raises(DemoError, match="no metrics from http"):
        await engine_requests(simulator.origin)
