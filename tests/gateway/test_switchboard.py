"""Messages between workers, by way of the supervisor; each worker is one end of a real socket pair."""

import socket
from time import monotonic

import pytest
from msgspec.structs import replace

from gateway.channel import Channel, open_channel
from gateway.core import messages as say
from gateway.core.lives import State
from gateway.core.series import Reading, Series
from gateway.switchboard import Switchboard
from tests.gateway.records import SETTLED

RECORD = replace(SETTLED, served="baseline", upstream="partner", sent_s=0.1, duration_s=0.2, completion_tokens=3)
READING = Reading("g", "text", (), (((), 1.0),))


class Worker:
    """The supervisor's view of a worker, and the worker's own end of the line."""

    def __init__(self, number: int, slot: int, state: State) -> None:
        self.number, self.slot, self.state = number, slot, state
        self.heard_at_s = 0.0
        self.readings: tuple[Reading, ...] = ()
        self.answer: say.Answer | None = None
        self.heard: list[say.Message] = []
        self.channel: Channel
        self.inside: Channel

    def hear(self, message: say.Message) -> None:
        self.heard.append(message)
        if isinstance(message, say.Ask) and self.answer is not None:
            self.inside.send(say.Reply(message.id, ((self.number, self.answer),)))


@pytest.fixture
def board() -> Switchboard:
    return Switchboard()


@pytest.fixture
def worker(board: Switchboard, stack):
    async def add(slot: int, state: State = State.READY, answer: say.Answer | None = None) -> Worker:
        worker = Worker(len(board.lines) + 1, slot, state)
        worker.answer = answer
        ours, theirs = socket.socketpair()
        worker.channel = await open_channel(ours, lambda message: board.hear(worker, message), lambda: None)
        worker.inside = await open_channel(theirs, worker.hear, lambda: None)
        for channel in (worker.channel, worker.inside):
            stack.push_async_callback(channel.close)
        board.lines[worker.number] = worker
        return worker

    return add


async def test_all_that_can_answer_are_asked_at_once_and_the_silent_are_named(board: Switchboard, worker) -> None:
    await worker(0, State.STARTING, say.Unknown())
    await worker(0, State.READY, say.Found(1.0))
    await worker(1, State.DRAINING, say.Unknown())
    await worker(2, State.READY)
    began_s = monotonic()
    answers = await board.ask(say.FindAnswer("acme", "r"))
    assert answers == ((2, say.Found(1.0)), (3, say.Unknown()), (4, say.Unheard()))
    assert monotonic() - began_s < 10
    assert await board.ask(say.FindAnswer("acme", "r"), but=4, to=2) == ((2, say.Found(1.0)),)
    assert await board.ask(say.FindAnswer("acme", "r"), but=2, to=2) == ()


async def test_a_workers_question_goes_to_the_others(worker) -> None:
    asking = await worker(0, answer=say.Found(9.0))
    await worker(1, answer=say.Found(1.0))
    await worker(2, answer=say.Unknown())
    question = say.FindAnswer("acme", "r")
    assert await asking.inside.ask(question, 5) == ((2, say.Found(1.0)), (3, say.Unknown()))
    assert await asking.inside.ask(question, 5, to=3) == ((3, say.Unknown()),)


async def test_counts_survive_their_worker_and_gauges_do_not(board: Switchboard, worker, until) -> None:
    first, second = await worker(0, answer=say.Collected((READING,))), await worker(1)
    first.inside.send(say.Counts((Series("f", (), (3.0,)),)))
    await until(lambda: first.heard_at_s)
    second.readings = (READING, READING)
    await board.collect()
    assert first.readings == (READING,)
    assert second.readings == (READING, READING), "what the silent one said last remains"
    board.bury(first)
    assert list(board.ledger.totals()) == [Series("f", (), (3.0,))]
    assert list(board.lines) == [second.number]


async def test_a_leaving_workers_answers_go_to_its_newest_successor(worker, until) -> None:
    leaving = await worker(1, State.DRAINING)
    others = [await worker(slot) for slot in (0, 1, 1, 2)]
    leaving.inside.send(say.Handover((RECORD,), ()))
    await until(lambda: others[2].heard)
    assert others[2].heard == [say.Handover((RECORD,), ())]
    assert [len(each.heard) for each in others] == [0, 0, 1, 0]


async def test_without_a_successor_any_other_gets_them_or_the_first_that_is_ready(
    board: Switchboard, worker, until
) -> None:
    leaving = await worker(5, State.DRAINING)
    for request_id in ("r", "s"):
        leaving.inside.send(say.Handover((replace(RECORD, request_id=request_id),), ()))
    await until(lambda: leaving.heard_at_s)
    other = await worker(0, State.STARTING)
    other.state = State.READY
    other.inside.send(say.Ready())
    await until(lambda: len(other.heard) == 2)
    leaving.inside.send(say.Handover((replace(RECORD, request_id="t"),), ()))
    await until(lambda: len(other.heard) == 3)
    assert [each.records[0].request_id for each in other.heard] == ["r", "s", "t"]
    assert len(board.lines) == 2


async def test_what_nobody_takes_over_is_bounded_and_the_oldest_goes(
    board: Switchboard, worker, until, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("gateway.switchboard.KEPT_MAX", 2)
    leaving = await worker(5, State.DRAINING)
    for request_id in ("r", "s", "t"):
        board.hear(leaving, say.Handover((replace(RECORD, request_id=request_id),), ()))
    assert "some of it is lost" in caplog.text
    other = await worker(0)
    board.hear(other, say.Ready())
    await until(lambda: len(other.heard) == 2)
    assert [each.records[0].request_id for each in other.heard] == ["s", "t"]
