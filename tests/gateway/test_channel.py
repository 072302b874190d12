"""The line between supervisor and worker, over a real socket pair."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.channel import Channel, open_channel
from gateway.core import messages as say
from gateway.core.frames import frame


class End:
    """One end, and what it heard."""

    def __init__(self) -> None:
        self.heard: list[say.Message] = []
        self.lost = 0
        self.reply: say.Reply | None = None
        self.channel: Channel

    def on_message(self, message: say.Message) -> None:
        self.heard.append(message)
        if isinstance(message, say.Ask) and self.reply is not None:
            self.channel.send(say.Reply(message.id, self.reply.answers))

    def on_lost(self) -> None:
        self.lost += 1

    async def open(self, line: socket.socket) -> None:
        self.channel = await open_channel(line, self.on_message, self.on_lost)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    pair = End(), End()
    for end, line in zip(pair, socket.socketpair(), strict=True):
        await end.open(line)
    yield pair
    for end in pair:
        await end.channel.close()


async def test_messages_arrive_in_order(ends: tuple[End, End], until) -> None:
    here, there = ends
    sent = [say.Accept((slot,)) for slot in range(1_000)]
    for each in sent:
        here.channel.send(each)
    await until(lambda: len(there.heard) == 1_000)
    assert there.heard == sent


async def test_a_question_gets_its_own_answer(ends: tuple[End, End]) -> None:
    here, there = ends
    there.reply = say.Reply(0, ((3, say.CaughtUp(7)),))
    first, second = await asyncio.gather(
        here.channel.ask(say.Collect(), 5), here.channel.ask(say.FindAnswer("acme", "r"), 5, to=3)
    )
    assert first == second == ((3, say.CaughtUp(7)),)
    assert [each.to for each in there.heard] == [None, 3]


async def test_silence_is_none_and_a_late_answer_goes_nowhere(ends: tuple[End, End], until) -> None:
    here, there = ends
    assert await here.channel.ask(say.Collect(), 0.01) is None
    await until(lambda: there.heard)
    there.channel.send(say.Reply(there.heard[0].id, ()))
    there.channel.send(say.Ready())
    await until(lambda: here.heard)
    assert here.heard == [say.Ready()]


async def test_when_the_line_is_lost_nobody_waits(ends: tuple[End, End], until) -> None:
    here, there = ends
    asking = asyncio.create_task(here.channel.ask(say.Collect(), 60))
    await until(lambda: there.heard)
    await there.channel.close()
    assert await asking is None
    await until(lambda: here.lost)
    assert (here.lost, there.lost) == (1, 1)
    assert here.channel.congested
    here.channel.send(say.Ready())
    await here.channel.send_when_writable(say.Ready())
    assert await here.channel.ask(say.Collect(), 0.01) is None


@pytest.mark.parametrize("damage", [b"\0\0\0\0", frame(b"\xc1")])
async def test_a_damaged_line_is_ended(damage: bytes, until, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = socket.socketpair()
    end = End()
    await end.open(ours)
    with theirs:
        theirs.sendall(frame(say.encode(say.Ready())))
        await until(lambda: end.heard)
        theirs.sendall(damage + frame(say.encode(say.Ready())))
        await until(lambda: end.lost)
    assert end.heard == [say.Ready()]
    assert "damaged" in caplog.text


async def test_whoever_does_not_read_congests_the_line_and_large_things_wait(until) -> None:
    ours, theirs = socket.socketpair()
    end = End()
    await end.open(ours)
    assert not end.channel.congested
    large = say.Failed("x" * 1_000_000, "")
    for _ in range(8):
        end.channel.send(large)
    assert end.channel.congested
    waiting = asyncio.create_task(end.channel.send_when_writable(say.Ready()))
    reader = End()
    await reader.open(theirs)
    await waiting
    await until(lambda: reader.heard[-1:] == [say.Ready()])
    assert len(reader.heard) == 9
    await end.channel.close()
    await reader.channel.close()
