from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtests.demo.control import Operator, engine_requests, engine_requests_of, quality_of
from loadtests.demo.errors import ConflictError, DemoError
from loadtests.demo.judge import Quality
from loadtests.demo.ports import free_ports
from loadtests.simulator import RunningSimulator
from tests.loadtests.demo.operator_port import OperatorPort, view

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
    async with Operator(nowhere, "k", Path("/there/gateway.log")) as operator:
        with pytest.raises(DemoError, match="the operator API gave no answer to GET /features/draft") as unanswered:
            await operator.set_share("draft", 0)
        with pytest.raises(DemoError, match="no metrics from /metrics") as unmeasured:
            await operator.quality()
    assert {unanswered.value.hint, unmeasured.value.hint} == {"see the gateway's log, /there/gateway.log"}


async def test_a_refusal_is_one_line(simulate: Callable[..., Awaitable[RunningSimulator]]) -> None:
    simulator = await simulate()
    async with Operator(simulator.origin, "k") as operator:
        with pytest.raises(DemoError, match="refused POST /features/draft/kill: 404"):
            await operator.kill("draft")
    with pytest.raises(DemoError, match="no metrics from http"):
        await engine_requests(simulator.origin)


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "refused GET /features/f: 500"), (200, "gave no answer to GET /features/f: it is no JSON")],
)
async def test_what_is_no_problem_says_where_to_look(
    port: OperatorPort, operator: Operator, status: int, said: str
) -> None:
    port.answer("GET", "/features/f", [], status=status)
    with pytest.raises(DemoError, match=said) as fault:
        await operator.standing("f")
    assert fault.value.hint == "see the gateway's log"


async def test_a_ramps_command_is_for_the_revision_there_is(port: OperatorPort, operator: Operator) -> None:
    port.answer("GET", "/features/f", view("f", 4), view("f", 5))
    port.answer("POST", "/features/f/ramp/resume", {"detail": "it is at 5"}, status=412)
    port.answer("POST", "/features/f/ramp/resume", {})
    await operator.ramp("f", "resume")
    commands = [asked for asked in port.asked if asked.method == "POST"]
    assert [asked.headers["if-match"] for asked in commands] == ['"4"', '"5"']
    assert commands[0].body == {"reason": "glidepath demo"}


async def test_who_is_always_too_late_gives_up(port: OperatorPort, operator: Operator) -> None:
    port.answer("GET", "/features/f", view("f", 4))
    port.answer("POST", "/features/f/ramp/start", {"detail": "it is at 5"}, status=412)
    with pytest.raises(ConflictError, match="it is at 5"):
        await operator.ramp("f", "start")


async def test_a_document_is_applied_anew_and_says_why(port: OperatorPort, operator: Operator) -> None:
    port.answer("PUT", "/documents", {})
    await operator.apply({"x-rollouts": {}})
    (asked,) = port.asked
    assert asked.path == "/api/v1/documents?anew=true&reason=glidepath+demo"
    assert asked.body == {"x-rollouts": {}}


async def test_a_plan_is_a_line_for_each_step(port: OperatorPort, operator: Operator) -> None:
    port.answer("POST", "/features/f/plan", {"steps": [{"text": "step 0"}, {"text": "step 1"}]})
    assert await operator.plan("f", 12.3456) == ["step 0", "step 1"]
    assert port.asked[0].path.endswith("?units_per_s=12.346")


async def test_the_cost_of_a_feature_is_what_the_port_says(port: OperatorPort, operator: Operator) -> None:
    port.answer("GET", "/features/f/cost", {"attempt": 1})
    assert await operator.cost("f") == {"attempt": 1}
