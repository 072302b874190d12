"""Traffic against the real simulator on a real socket; it knows no feedback, which is a fault to be seen as well."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from loadtests.demo.plan import CONCURRENCY, FEATURES, PANEL_SIZE, TASKS
from loadtests.demo.ports import free_ports
from loadtests.demo.source import Source
from loadtests.demo.traffic import Traffic
from loadtests.prompts import Message, Prompt
from loadtests.simulator import Fault, FaultKind, RunningSimulator

Simulate = Callable[..., Awaitable[RunningSimulator]]
PROMPTS = [
    Prompt(task, (Message("user", f"{task} {number}"),), f"The answer is {number}.")
    for task in sorted(set(TASKS.values()))
    for number in range(8)
]
MODELS = tuple(f"copilot/{feature}" for feature in FEATURES)


def references(folder: Path) -> str:
    path = folder / "prompts.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(prompt) for prompt in PROMPTS))
    return str(path)


async def run_panel(traffic: Traffic) -> None:
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run())
        await traffic.panel_through(1)
        traffic.end()


async def test_answers_are_timed_and_scored(simulate: Simulate, tmp_path: Path) -> None:
    simulator = await simulate(models=MODELS, references=references(tmp_path), accuracy=1.0)
    traffic = Traffic(simulator.base_url, "k", Source(PROMPTS, 1))
    await run_panel(traffic)
    assert {sample.problem for sample in traffic.samples} == {None}
    assert all(sample.matched for sample in traffic.samples)
    assert all(sample.e2e_s is not None and sample.e2e_s > 0 for sample in traffic.samples)
    streamed = [sample for sample in traffic.samples if sample.ttft_s is not None]
    assert 0 < len(streamed) < len(traffic.samples)
    assert all(sample.ttft_s is not None and sample.ttft_s <= (sample.e2e_s or 0) for sample in streamed)
    panel = [sample.conversation for sample in traffic.samples if sample.panel]
    assert len(panel) == len(set(panel)) == PANEL_SIZE
    assert {sample.assigned for sample in traffic.samples} == {None}
    assert traffic.feedback_problems == ["status 404"] * len(traffic.samples)
    assert simulator.partner.stats.snapshot()["requests"]["completed"] == len(traffic.samples)


async def test_wrong_answers_score_as_wrong(simulate: Simulate, tmp_path: Path) -> None:
    simulator = await simulate(models=MODELS, references=references(tmp_path), accuracy=0.0)
    traffic = Traffic(simulator.base_url, "k", Source(PROMPTS, 1))
    await run_panel(traffic)
    assert {sample.matched for sample in traffic.samples} == {False}


async def test_each_kind_of_fault_is_told_and_not_scored(simulate: Simulate, tmp_path: Path) -> None:
    faults = (Fault(FaultKind.STATUS, status=500, rate=0.2), Fault(FaultKind.RESET, rate=0.2))
    simulator = await simulate(*faults, models=MODELS, references=references(tmp_path), accuracy=1.0)
    traffic = Traffic(simulator.base_url, "k", Source(PROMPTS, 1))
    await run_panel(traffic)
    problems = {sample.problem for sample in traffic.samples}
    assert None in problems
    assert "status 500" in problems
    assert any(problem and problem.startswith("connection: ") for problem in problems)
    assert all((sample.matched is None) == (sample.problem is not None) for sample in traffic.samples)


async def test_nobody_there_is_no_flood(until: Callable[[Callable[[], object]], Awaitable[None]]) -> None:
    traffic = Traffic(f"http://127.0.0.1:{free_ports().gateway}/v1", "k", Source(PROMPTS, 1))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run())
        await until(lambda: traffic.samples)
        traffic.end()
    assert {sample.problem for sample in traffic.samples} == {"connection: ConnectError"}
    assert len(traffic.samples) <= 2 * CONCURRENCY
