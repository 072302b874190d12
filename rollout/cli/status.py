"""`glidepath rollout status`: waits for a ramp and tells CI by its exit code how that ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from rollout.cli.client import ApiFault
from rollout.cli.command_line import connect, say
from rollout.cli.feature_render import hold_texts, told_of
from rollout.cli.render import flag_line
from rollout.core.duration import parse_duration
from rollout.core.ramp_goal import Outcome, Situation, outcome, parse_goal
from rollout.core.ramp_model import Phase

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rollout.core.ramp_goal import Goal

EVERY_S = 1.0
EXIT_CODES = {Outcome.REACHED: 0, Outcome.ENDED: 1, Outcome.PAUSED: 6, Outcome.AWAITED: 6, Outcome.UNDER_WAY: 7}


class Ended(NamedTuple):
    """How it stood when nothing more was to be waited for, and the feature then."""

    outcome: Outcome
    flag: dict[str, Any]


class Surroundings(NamedTuple):
    """Time, and where progress is told."""

    tell: Callable[[str], object]
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def status(args: argparse.Namespace) -> int:
    """Say how it stands, after waiting for up to `--timeout`; the exit code of EXIT_CODES."""
    goal = parse_goal(args.goal)
    timeout_s = 0.0 if args.timeout is None else parse_duration(args.timeout)
    around = Surroundings(lambda line: sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n"))
    with connect(args) as client:
        ended = wait(lambda: client.feature(args.feature), goal, timeout_s, around)
    answer = {"feature": args.feature, "goal": goal.text, "outcome": ended.outcome, "flag": ended.flag}
    say(args, answer | {"outcome": ended.outcome.value}, "\n".join(_lines(goal, ended)))
    return EXIT_CODES[ended.outcome]


def wait(ask: Callable[[], dict[str, Any]], goal: Goal, timeout_s: float, around: Surroundings) -> Ended:
    """Ask once a second until a person is needed, the goal is reached or the time is over; at least once.

    A gateway that is away is waited for; ApiFault if it was all the time, or for what waiting doesn't mend.
    """
    until_s = around.now_s() + timeout_s
    flag: dict[str, Any] | None = None
    before: object = None
    while True:
        try:
            flag = ask()
            found, line, news = outcome(goal, situation(flag)), _progress(flag), told_of(flag)
        except ApiFault as fault:
            if not fault.passing or (flag is None and around.now_s() >= until_s):
                raise
            found, line, news = Outcome.UNDER_WAY, fault.cause, fault.cause
        left_s = until_s - around.now_s()
        if flag is not None and (found is not Outcome.UNDER_WAY or left_s <= 0):
            return Ended(found, flag)
        if news != before:
            around.tell(line)
        before = news
        around.sleep(max(0.0, min(EVERY_S, left_s)))


def situation(flag: dict[str, Any]) -> Situation:
    """Give what goals are judged by."""
    ramp = flag["ramp_state"]
    off = flag["kill"]["on"] or flag["killed_locally"] or flag["state"] == "DISABLED"
    if ramp is None:
        return Situation(None, flag["in_force_millipct"], off)
    holds = tuple(hold["reason"] for hold in ramp["holds"])
    return Situation(Phase(ramp["phase"]), flag["in_force_millipct"], off, ramp["step"], ramp["steps"], holds)


def _progress(flag: dict[str, Any]) -> str:
    return "; ".join([flag_line(flag), *hold_texts(flag)])


def _lines(goal: Goal, ended: Ended) -> list[str]:
    said = {
        Outcome.REACHED: f"{goal.text} is reached",
        Outcome.ENDED: f"{goal.text} will not be reached",
        Outcome.PAUSED: f"paused before {goal.text}",
        Outcome.AWAITED: f"a person must act before {goal.text}",
        Outcome.UNDER_WAY: f"{goal.text} is not reached yet",
    }[ended.outcome]
    return [f"{flag_line(ended.flag)}; {said}", *(f"  - {text}" for text in hold_texts(ended.flag))]
