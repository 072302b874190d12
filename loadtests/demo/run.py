"""`glidepath demo` and `glidepath up`: a stack, what happens on it, and an orderly end whatever happens."""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NoReturn

from loadtests.demo.conduct import Conductor
from loadtests.demo.control import Operator
from loadtests.demo.errors import ModelSpecError
from loadtests.demo.folder import claimed, made_anew
from loadtests.demo.gating import PROGRAM, find_prometheus, ungated, warning
from loadtests.demo.invitation import invitation
from loadtests.demo.judge import Verdict, judge
from loadtests.demo.layout import INHOUSE, INHOUSE_WORSE, Folder, Ports
from loadtests.demo.money import money_of, money_saved
from loadtests.demo.partner import choose_partner
from loadtests.demo.plan import MOVING
from loadtests.demo.ports import check_free, free_ports
from loadtests.demo.race import under_watch
from loadtests.demo.ramp_judge import judge_ramps
from loadtests.demo.screen import Screen, shown
from loadtests.demo.source import Source
from loadtests.demo.stack import Running, Stack
from loadtests.demo.summary import lines_of, proofs_of
from loadtests.demo.summary_view import summary
from loadtests.demo.traffic import Traffic
from loadtests.demo.view import verdict_table
from loadtests.prompts import read_prompts

_SHOW_EVERY_S: Final = 0.25
_SEED_BITS: Final = 40


async def run_demo(state_dir: Path, model_spec: Path | None) -> int:
    """Run the whole demo; 0 if every check held, 1 if one did not. Raises LoadTestError."""
    with shown() as screen, claimed(state_dir) as folder:
        specs = {INHOUSE: model_spec or shipped_model_spec(), INHOUSE_WORSE: shipped_model_spec("demo-worse")}
        async with _started(made_anew(folder), free_ports(), specs, screen) as (stack, running):
            screen.settle()
            verdicts = await under_watch(_traffic_and_verdicts(stack, running, screen), stack.watch())
            if not stack.gated:
                verdicts = (*verdicts, ungated(os.environ))
            screen.say(verdict_table(verdicts))
        failed = [verdict for verdict in verdicts if not verdict.ok]
        for verdict in failed:
            screen.say(f"FAILED: {verdict.check}: {verdict.found}")
        skipped = ", some were skipped" if any(verdict.skipped for verdict in verdicts) else ""
        screen.say(f"{'failed' if failed else f'ok: every check held{skipped}'}, {stack.elapsed_s:.0f} s in all")
    return 1 if failed else 0


async def run_up(state_dir: Path, model_spec: Path | None, ports: Ports, options: dict[str, str]) -> int:
    """Start the stack and leave it running until it is cancelled. Raises LoadTestError."""
    with shown() as screen, claimed(state_dir) as folder:
        gated = find_prometheus(os.environ) is not None
        check_free(ports, options, [part for part in options if gated or part != PROGRAM])
        # The good model alone: nobody who looks around needs the worse one, and it takes as much memory.
        specs = {INHOUSE: model_spec or shipped_model_spec()}
        async with _started(folder, ports, specs, screen) as (stack, running):
            screen.settle()
            screen.say(invitation(running, read_prompts(running.prompts)))
            await stack.watch()


@contextlib.asynccontextmanager
async def _started(
    folder: Folder, ports: Ports, model_specs: Mapping[str, Path], screen: Screen
) -> AsyncIterator[tuple[Stack, Running]]:
    """Start a stack, shown on the screen; stop it in the end."""
    partner = choose_partner(os.environ, ports.url("simulator") + "/v1")
    if partner.warning is not None:
        screen.say(partner.warning)
    prometheus = find_prometheus(os.environ)
    if prometheus is None:
        # Loud on stderr, where a log of the output alone would not hide it.
        sys.stderr.write(f"glidepath: {warning()}\n")
    stack = Stack(folder, ports, partner, model_specs, os.environ, prometheus=prometheus)
    try:
        yield stack, await under_watch(stack.start(), stack.watch(), _show_start(stack, screen))
    finally:
        screen.settle()
        screen.say("stopping")
        await stack.stop()


async def _show_start(stack: Stack, screen: Screen) -> NoReturn:
    try:
        while True:
            screen.starting(stack.states, stack.elapsed_s)
            await asyncio.sleep(_SHOW_EVERY_S)
    finally:
        screen.starting(stack.states, stack.elapsed_s)


async def _traffic_and_verdicts(stack: Stack, running: Running, screen: Screen) -> tuple[Verdict, ...]:
    # A seed of its own for each run: its conversations are strangers to the gateway.
    source = Source(read_prompts(running.prompts), secrets.randbits(_SEED_BITS))
    traffic = Traffic(f"{running.gateway_url}/v1", running.api_key, source)
    async with Operator(running.admin_url, running.api_key, stack.log("gateway")) as operator:
        conductor = Conductor(stack, operator, traffic, screen.say)
        seen, ramps = await under_watch(conductor.conduct(), conductor.show(screen.board))
        money = money_of(await operator.cost(MOVING))
    screen.board(conductor.board)
    screen.settle()
    screen.say(summary(lines_of(ramps), proofs_of(ramps.entries), money))
    return (*judge(seen), *judge_ramps(ramps), money_saved(money, priced=stack.partner.price is not None))


def shipped_model_spec(name: str = "demo-good") -> Path:
    """Return a shipped model's spec, from wherever the package is installed. Raises ModelSpecError."""
    found = find_spec("serving")
    for place in (found and found.submodule_search_locations) or ():
        path = Path(place, "models", f"{name}.toml")
        if path.is_file():
            return path
    raise ModelSpecError("the demo model's spec is not installed", "install glidepath again, or name one with --model")
