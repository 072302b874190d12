"""Replies and scripts that the tests of single faults bend."""

from collections.abc import Callable

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.draws import Schedule
from loadtests.simulator.events import Ident
from loadtests.simulator.reply import Reply, Script, plan
from loadtests.simulator.wire import Api, Ask

ANSWER = Answer(("a", "b", "c"), Finish.STOP)


def planned(api: Api = Api.CHAT, *, stream: bool = True, times: tuple[float, ...] = (1.0, 2.0, 3.0)) -> Reply:
    """Three tokens, due at 1, 2 and 3 seconds."""
    return plan(Ask(api, "m", "q", 1, stream=stream), ANSWER, Ident("i", 0), lambda _: Schedule(times))


def sent(script: Script) -> bytes:
    return b"".join(write.data for write in script.writes)


@pytest.fixture
def plan_reply() -> Callable[..., Reply]:
    return planned


@pytest.fixture
def wire() -> Callable[[Script], bytes]:
    return sent
