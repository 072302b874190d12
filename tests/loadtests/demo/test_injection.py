"""Faults told to the real simulator on a real socket."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from loadtests.demo.errors import DemoError
from loadtests.demo.injection import FAULTS, Injection
from loadtests.demo.layout import TRIALS, trial_model
from loadtests.demo.plan import BREAKING, HARMS, SLOWED_BY_S, SLOWING
from loadtests.demo.ports import free_ports
from loadtests.simulator import FaultKind, RunningSimulator


async def test_each_harm_strikes_its_own_model_and_stays(simulate: Callable[..., Awaitable[RunningSimulator]]) -> None:
    simulator = await simulate(models=tuple(map(trial_model, TRIALS.values())))
    injection = Injection(simulator.origin)
    await asyncio.gather(injection.harm(BREAKING), injection.harm(SLOWING))
    broken, slow = simulator.partner.faults
    assert (broken.kind, broken.status, broken.model) == (FaultKind.STATUS, 503, "simulated-trial-proofread")
    assert (slow.kind, slow.delay_s, slow.model) == (FaultKind.SLOW_HEADERS, SLOWED_BY_S, "simulated-trial-reply")


async def test_a_simulator_that_is_not_there_is_one_line() -> None:
    log = Path("/there/simulator.log")
    with pytest.raises(DemoError, match="can't be told to misbehave") as fault:
        await Injection(f"http://127.0.0.1:{free_ports().simulator}", log).harm(BREAKING)
    assert str(log) in fault.value.hint


def test_all_that_is_injected_has_a_fault() -> None:
    assert {harm.feature for harm in HARMS if harm.injected} == set(FAULTS) == set(TRIALS)
