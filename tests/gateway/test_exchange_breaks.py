"""How a relayed request ends before its time: cut, timed out, slow, left; and that all is given back."""

import asyncio
import random

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CALL, "stream": True}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}'


def served_by(answer) -> tuple[str, str, str]:
    return tuple(answer.headers[f"x-glidepath-{name}"] for name in ("assigned", "arm", "attempts"))


BREAKS = ["reset", "close", "end", "unfinished event", "bad chunk"]


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_is_cut_ends_with_an_error_event_and_no_done(
    *, upstream, relay_gateway, settled, wire, until, how: str
) -> None:
    async def cut(peer) -> None:
        server.requests.append(await peer.request())
        peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
        await begun.wait()
        if how == "unfinished event":
            peer.send(wire.chunk(b'data: {"choices":[{"delta":{"content":"half'))
        if how in {"end", "unfinished event"}:
            peer.send(wire.stream_end)
        elif how == "bad chunk":
            peer.send(b"zz\r\n")
        elif how == "reset":
            peer.reset()
        else:
            peer.close()
        await peer.gone()

    begun = asyncio.Event()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    events = await caller.chunk()
    begun.set()
    # No last chunk: a caller that took the message for complete would send the next one into a closed socket.
    with pytest.raises(asyncio.IncompleteReadError):  # noqa: PT012  which chunk is the last, the reads decide
        while more := await caller.chunk():
            events += more
    assert b"[DONE]" not in events
    first, last, nothing = events.split(b"\n\n")
    assert first + b"\n\n" == wire.delta("begun")
    assert last.startswith(b'data: {"error":{')
    assert nothing == b""
    assert await caller.rest() == b""
    (record,) = await settled(gateway)
    assert (record.outcome, record.status, record.attempts, record.served) == ("truncated", 200, 1, "candidate")
    assert len(server.requests) == 1


async def test_an_error_event_of_the_upstream_is_passed_on_once(upstream, relay_gateway, settled, wire) -> None:
    error = wire.event({"error": {"message": "engine died", "code": 500}})
    server = await upstream(
        wire.stream_head
        + wire.chunk(wire.delta("a"))
        + wire.chunk(error)
        + wire.chunk(wire.event(b"[DONE]"))
        + wire.stream_end
    )
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    answer = await caller.answer()
    assert answer.body.count(b'"error"') == 1
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("upstream_error", "in_band_error")


async def test_a_stream_that_said_it_had_finished_is_whole_without_done(
    upstream, relay_gateway, settled, stream_of, wire
) -> None:
    server = await upstream(stream_of("hi", usage=False, done=False))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    answer = await caller.answer()
    assert (answer.whole, b"error" in answer.body) == (True, False)
    assert (await settled(gateway))[0].outcome == "ok"


async def test_a_large_plain_answer_that_is_cut_can_be_told_from_a_whole_one(
    upstream, relay_gateway, settled, wire, until
) -> None:
    async def cut(peer) -> None:
        await peer.request()
        peer.send(wire.plain(b"x" * 3_000_000)[:-1_000_000])
        await begun.wait()
        peer.reset()

    begun = asyncio.Event()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(CALL)
    await caller.head()
    assert await caller.chunk()
    begun.set()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await to_the_last_chunk(caller)
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts) == ("truncated", 1)


async def test_an_event_without_end_is_broken_off(upstream, relay_gateway, settled, wire) -> None:
    async def babble(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head + wire.chunk(wire.delta("begun") + b"data: "))
        for _ in range(100):
            peer.send(wire.chunk(b"x" * 65_536))
            await peer.drained()
        await peer.gone()

    server = await upstream(babble)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    answer = await caller.answer()
    first, last, nothing = answer.body.split(b"\n\n")
    assert (first + b"\n\n", last[:16], nothing) == (wire.delta("begun"), b'data: {"error":{', b"")
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("truncated", "event_too_large")


async def to_the_last_chunk(caller) -> None:
    while await caller.chunk():
        pass


@pytest.mark.parametrize(
    ("limits", "later_s", "cause"),
    [
        ({"first_byte_timeout_s": 5}, 6, "first_byte_timeout"),
        ({"total_timeout_s": 5}, 6, "total_timeout"),
    ],
)
async def test_a_deadline_before_the_first_byte_is_a_504(
    *, stalling, relay_gateway, settled, until, limits: dict[str, float], later_s: float, cause: str
) -> None:
    server = await stalling("first byte")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=0, **limits)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: server.requests)
    gateway.later(later_s - 2)
    assert not gateway.records
    gateway.later(later_s)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", cause)
    await until(lambda: server.left == [1])


async def test_a_candidate_slow_to_begin_is_replaced_by_the_baseline(
    *, stalling, upstream, relay_gateway, settled, wire, until
) -> None:
    candidate, baseline = await stalling("first byte"), await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, first_byte_timeout_s=5)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: candidate.requests)
    gateway.later(6)
    answer = await caller.answer()
    assert (answer.status, served_by(answer)) == (200, ("candidate", "baseline", "2"))
    await until(lambda: candidate.left == [1])
    assert (await settled(gateway))[0].outcome == "ok"


async def test_no_second_attempt_when_the_whole_time_is_up(
    *, stalling, upstream, relay_gateway, settled, wire, until
) -> None:
    candidate, baseline = await stalling("first byte"), await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, total_timeout_s=5)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: candidate.requests)
    gateway.later(6)
    assert (await caller.answer()).status == 504
    assert not baseline.connections
    await settled(gateway)


@pytest.mark.parametrize(("limit", "cause"), [("idle_timeout_s", "idle_timeout"), ("total_timeout_s", "total_timeout")])
async def test_a_stream_that_stalls_is_broken_off(
    *, stalling, relay_gateway, settled, until, wire, limit: str, cause: str
) -> None:
    server = await stalling("body")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, **{limit: 5})
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    assert await caller.chunk() == wire.delta("begun")
    gateway.later(3)
    assert not gateway.records
    gateway.later(6)
    assert (await caller.chunk()).startswith(b'data: {"error":{')
    assert b"[DONE]" not in await caller.rest()
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", cause)
    await until(lambda: server.left == [1])


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ["waiting", "first byte", "body"])
async def test_when_the_caller_goes_the_upstream_sees_it(
    *, stalling, relay_gateway, settled, until, phase: str, how: str, stream: bool
) -> None:
    server = await stalling("body" if phase == "body" else "first byte")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, connections_max=1)
    blocker, caller = await gateway.caller(), await gateway.caller()
    if phase == "waiting":
        blocker.post(CALL)
        await until(lambda: server.requests)
    caller.post({**CALL, "stream": stream})
    await until(lambda: gateway.held[3] if phase == "waiting" else server.requests)
    if phase == "body" and stream:
        await caller.head()
    if how == "fin":
        await caller.close()
    else:
        caller.reset()
    await until(lambda: len(gateway.records) == 1)
    assert (gateway.records[0].outcome, gateway.records[0].cause) == ("cancelled", "caller_gone")
    if phase == "waiting":
        assert not server.left
        await blocker.close()
        gateway.later(0)
    await until(lambda: server.left == [1])
    await settled(gateway, 2 if phase == "waiting" else 1)
    assert len(server.requests) == 1


@pytest.fixture
def flood(wire):
    """Make a script that streams `count` events as fast as they are taken, and a function that says how many were."""

    def make(count: int, event: bytes):
        sent = 0

        async def script(peer) -> None:
            nonlocal sent
            await peer.request()
            peer.send(wire.stream_head)
            for _ in range(count):
                peer.send(wire.chunk(event))
                await peer.drained()
                sent += 1
            peer.send(wire.chunk(wire.event(b"[DONE]")) + wire.stream_end)
            await peer.gone()

        return script, lambda: sent

    return make


async def stop_reading(gateway, sent):
    """A caller that reads nothing any more; returns when the upstream is held up by it."""
    caller = await gateway.caller()
    caller.writer.transport.pause_reading()
    caller.post(STREAMED)
    before = -1
    while sent() != before or not sent():
        before = sent()
        await asyncio.sleep(0.1)
    return caller


async def test_a_slow_caller_slows_the_upstream_down(upstream, relay_gateway, settled, wire, flood) -> None:
    count, event = 3_000, wire.delta("x" * 8_192)
    script, sent = flood(count, event)
    server = await upstream(script)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, idle_timeout_s=500)
    caller = await stop_reading(gateway, sent)
    assert sent() < count
    gateway.later(400)
    assert not gateway.records
    caller.writer.transport.resume_reading()
    answer = await caller.answer()
    assert len(answer.body) == count * len(event) + len(wire.event(b"[DONE]"))
    assert (await settled(gateway))[0].outcome == "ok"


async def test_a_caller_that_stops_reading_holds_nothing_for_ever(
    upstream, relay_gateway, settled, wire, flood, until
) -> None:
    script, sent = flood(3_000, wire.delta("x" * 8_192))
    server = await upstream(script)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, idle_timeout_s=60)
    await stop_reading(gateway, sent)
    gateway.later(61)
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", "caller_stalled")
    await until(lambda: not server.open)


@pytest.fixture
def erratic(wire):
    """Make a script that answers, streams, cuts, fails and resets at random times."""

    def make(draw: random.Random):
        async def stream(peer, *, whole: bool) -> None:
            peer.send(wire.stream_head)
            for _ in range(draw.randrange(4)):
                peer.send(wire.chunk(wire.delta("x")))
                await asyncio.sleep(draw.random() * 0.01)
            if not whole:
                raise ConnectionAbortedError
            peer.send(wire.chunk(wire.event(b"[DONE]")) + wire.stream_end)

        async def script(peer) -> None:
            while True:
                await peer.request()
                await asyncio.sleep(draw.random() * 0.02)
                kind = draw.choice(["reset", "500", "plain", "cut", "stream", "stream"])
                if kind == "reset":
                    peer.reset()
                    return
                if kind in {"500", "plain"}:
                    peer.send(wire.plain(OK_BODY, "200 OK" if kind == "plain" else "500 Oops"))
                else:
                    await stream(peer, whole=kind == "stream")

        return script

    return make


async def test_who_leaves_a_stream_has_seen_its_first_content(stalling, relay_gateway, until) -> None:
    server = await stalling("body")
    gateway = await relay_gateway(candidate=server.port, baseline=1)
    caller = await gateway.caller()
    caller.post({**CALL, "stream": True})
    await caller.head()
    await until(lambda: gateway.relay.under_way(0.0)[0].ttft_s is not None)  # it may leave the upstream after the head
    (under_way,) = gateway.relay.under_way(0.0)
    caller.reset()
    await until(lambda: gateway.records)
    (left,) = gateway.records
    assert left.ttft_s == under_way.ttft_s <= left.duration_s


async def test_after_300_random_cancels_nothing_is_held(upstream, relay_gateway, erratic, until) -> None:
    draw = random.Random(7)
    server = await upstream(erratic(draw))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=50_000, connections_max=8)

    async def abandon(number: int) -> None:
        caller = await gateway.caller()
        caller.post({**CALL, "user": f"user-{number}", "stream": draw.random() < 0.5})
        if number % 5 == 0:
            await caller.answer()
        else:
            await asyncio.sleep(draw.random() * 0.04)
        await caller.close() if draw.random() < 0.5 else caller.reset()

    def nothing_held() -> bool:
        gateway.later(0)
        return gateway.held == (0, 0, 0, 0) and not gateway.connections

    def nothing_open() -> bool:
        # A connection that was under way meanwhile is idle now, and expires with the next sweep.
        gateway.later(1_000)
        return not server.open

    tasks = len(asyncio.all_tasks())
    for _ in range(12):
        await asyncio.gather(*(abandon(number) for number in range(30)))
    await until(nothing_held)
    records = gateway.records
    assert len({record.request_id for record in records}) == len(records) <= 360
    assert {record.outcome for record in records} >= {"cancelled", "ok"}
    await until(nothing_open)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    caller = await gateway.caller()
    caller.post(CALL)
    assert (await caller.answer()).status
