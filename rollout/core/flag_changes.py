"""Commands on a flag together with its ramp: pure steps from both to what they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rollout.core import commands, ramp_commands
from rollout.core.model import FeatureFlag
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import GateMemory
from rollout.core.ramp_table import Effect, Ramp, Transition

if TYPE_CHECKING:
    from rollout.core.ramp_commands import Order


class Changed(NamedTuple):
    """What a command makes of a flag and of the gates' memory beside it, and what is to be told besides."""

    flag: FeatureFlag
    memory: GateMemory = GateMemory()
    effects: tuple[Effect, ...] = ()


Change = Callable[[FeatureFlag, GateMemory], Changed]
"""A command that knows who, why and when; RolloutError when the flag doesn't allow it, and then nothing has changed."""

Step = Callable[[Ramp], Transition]
"""A ramp's command, as those of `ramp_commands`, with its order."""


def by_step(flag: FeatureFlag, memory: GateMemory, step: Step, *, killed_locally: bool = False) -> Changed:
    """Take a step of the ramp. `killed_locally`: this replica kills the feature, whatever the flag says."""
    made = step(ramp_of(flag, memory, killed_locally=killed_locally))
    return Changed(applied(flag, made), made.memory, made.effects)


def killed(flag: FeatureFlag, memory: GateMemory, order: Order) -> Changed:
    """Send everybody to the baseline, and pause the ramp that is under way; a flag that is killed stays as it is."""
    if flag.kill.on:
        return Changed(flag, memory)
    paused = by_step(flag, memory, lambda ramp: ramp_commands.kill(ramp, order))
    after = commands.kill(paused.flag, actor=order.actor, reason=order.reason, at_s=order.at_s)
    return paused._replace(flag=after)


def lifted(flag: FeatureFlag, memory: GateMemory, order: Order, *, killed_locally: bool = False) -> Changed:
    """Lift a kill: the share is in force again, the ramp is paused. Where there is no kill nothing changes."""
    if not (flag.kill.on or killed_locally):
        return Changed(flag, memory)
    paused = by_step(flag, memory, lambda ramp: ramp_commands.unkill(ramp, order))
    return paused._replace(flag=commands.unkill(paused.flag))
