"""What a raw client sees on a real socket: framing, faults, aborts."""

import json
import time

import pytest

from loadtests.simulator import Fault, FaultKind, Latency

CHAT = "/v1/chat/completions"
SLOW = Latency(ttft_median_s=30, ttft_sigma=0, inter_token_median_s=30)


async def test_requests_of_one_connection_are_answered_in_order(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate())
    for tokens in (1, 2, 3):
        wire.send(CHAT, chat_body(max_tokens=tokens), *(["connection: close"] if tokens == 3 else []))
    answers = [json.loads(part.rpartition(b"\r\n\r\n")[2]) for part in (await wire.rest()).split(b"HTTP/1.1 200")[1:]]
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [1, 2, 3]


async def test_a_body_in_pieces_after_100_continue(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate())
    data = json.dumps(chat_body()).encode()
    wire.writer.write(
        b"POST %b HTTP/1.1\r\ncontent-length: %d\r\nexpect: 100-continue\r\n\r\n" % (CHAT.encode(), len(data))
    )
    assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    for byte in data:
        wire.writer.write(bytes((byte,)))
        await wire.writer.drain()
    assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_what_is_not_http_is_refused(simulate, connect, garbage) -> None:
    wire = await connect(await simulate())
    wire.writer.write(garbage)
    assert (await wire.rest()).startswith(b"HTTP/1.1 400")


async def test_a_flood_of_pipelined_requests_is_refused(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(latency=SLOW))
    for _ in range(200):
        wire.send(CHAT, chat_body())
    assert b"429 Too Many Requests" in await wire.rest()


async def test_an_oversized_body_is_refused(simulate, connect) -> None:
    wire = await connect(await simulate())
    size = (64 << 20) + 1
    wire.writer.write(b"POST %b HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), size))
    block = b"x" * (1 << 20)
    for _ in range(64):
        wire.writer.write(block)
        await wire.writer.drain()
    wire.writer.write(b"x")
    assert (await wire.rest()).startswith(b"HTTP/1.1 413")


async def test_a_stream_is_chunked_with_lf_events_and_done(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate())
    wire.send(CHAT, chat_body(stream=True))
    head = await wire.until(b"\r\n\r\n")
    body = await wire.until(b"0\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"content-type: text/event-stream" in head
    assert b"data: [DONE]\n\n\r\n0\r\n\r\n" in body


async def test_a_later_token_is_sent_when_due_and_the_next_request_follows(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(latency=Latency(0.01, 0, 0.01, 0), generic_tokens=3))
    wire.send(CHAT, chat_body(stream=True))
    wire.send(CHAT, chat_body(), "connection: close")
    stream, _, single = (await wire.rest()).partition(b"0\r\n\r\n")
    assert stream.count(b"data: ") == 6
    assert single.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_abort_is_noticed_with_its_time(simulate, connect, chat_body, eventually, stream) -> None:
    simulator = await simulate(latency=SLOW)
    stats = simulator.partner.stats
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=stream))
    await eventually(lambda: stats.started == 1)
    left_s = time.time()
    await wire.close()
    await eventually(lambda: len(stats.aborts) == 1)
    (abort,) = stats.aborts
    assert left_s <= abort.at_s <= time.time()
    assert abort.model == "simulated-partner"
    assert stats.snapshot()["requests"]["in_flight"] == 0


async def test_an_abort_in_the_middle_says_how_many_events_went_out(simulate, connect, chat_body, eventually) -> None:
    simulator = await simulate(latency=Latency(0, 0, 30, 0))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True))
    await wire.until(b'"content":"This"')
    await wire.close()
    await eventually(lambda: len(simulator.partner.stats.aborts) == 1)
    assert simulator.partner.stats.aborts[0].events_sent == 2


async def test_a_client_that_leaves_after_its_answer_is_no_abort(simulate, connect, chat_body, eventually) -> None:
    simulator = await simulate()
    wire = await connect(simulator)
    wire.send(CHAT, chat_body())
    await wire.until(b"\r\n\r\n")
    await wire.close()
    other = await connect(simulator)
    other.send("/simulator/stats", None, "connection: close", method="GET")
    found = json.loads((await other.rest()).rpartition(b"\r\n\r\n")[2])
    assert found["requests"] == {"started": 1, "completed": 1, "aborted": 0, "broken": 0, "in_flight": 0}


async def test_reset_is_a_reset(simulate, connect, chat_body) -> None:
    simulator = await simulate(Fault(FaultKind.RESET))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body())
    with pytest.raises(ConnectionResetError):
        await wire.rest()
    assert simulator.partner.stats.snapshot()["requests"]["broken"] == 1


async def test_close_sends_nothing_and_ends(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(Fault(FaultKind.CLOSE)))
    wire.send(CHAT, chat_body())
    assert await wire.rest() == b""


async def test_a_black_hole_answers_nothing_but_notices_the_client_leave(
    simulate, connect, chat_body, eventually
) -> None:
    simulator = await simulate(Fault(FaultKind.BLACK_HOLE))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body())
    await eventually(lambda: simulator.partner.stats.started == 1)
    await wire.close()
    await eventually(lambda: len(simulator.partner.stats.aborts) == 1)
    assert simulator.partner.stats.aborts[0].fault == "black_hole"
    assert simulator.partner.stats.aborts[0].events_sent == 0


async def test_a_stall_sends_its_events_and_then_nothing(simulate, connect, chat_body, eventually) -> None:
    simulator = await simulate(Fault(FaultKind.STALL, events=4))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True))
    await wire.until(b'"content":" a"')
    await wire.close()
    await eventually(lambda: len(simulator.partner.stats.aborts) == 1)
    assert simulator.partner.stats.aborts[0].events_sent == 4


async def test_a_cut_stream_ends_without_its_last_chunk(simulate, connect, chat_body) -> None:
    simulator = await simulate(Fault(FaultKind.CUT_STREAM, events=2))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True))
    found = await wire.rest()
    assert found.count(b"data: ") == 2
    assert not found.endswith(b"0\r\n\r\n")
    assert simulator.partner.stats.snapshot()["requests"]["broken"] == 1


async def test_a_huge_answer_waits_for_a_slow_reader(simulate, connect, chat_body) -> None:
    simulator = await simulate(Fault(FaultKind.HUGE_ANSWER, size_bytes=16 << 20))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True), "connection: close")
    found = await wire.rest()
    assert found.count(b"x") >= 16 << 20
    assert found.endswith(b"0\r\n\r\n")


async def test_stopping_breaks_what_is_in_progress_without_an_abort(simulate, connect, chat_body, eventually) -> None:
    simulator = await simulate(latency=SLOW)
    wire = await connect(simulator)
    wire.send(CHAT, chat_body())
    await eventually(lambda: simulator.partner.stats.started == 1)
    await simulator.close()
    assert await wire.rest() == b""
    await eventually(lambda: simulator.partner.stats.snapshot()["requests"]["broken"] == 1)
    assert not simulator.partner.stats.aborts


async def test_a_thousand_aborts_leave_nothing_behind(simulate, connect, chat_body, eventually) -> None:
    simulator = await simulate(latency=SLOW)
    stats = simulator.partner.stats
    for batch in range(1, 21):
        wires = [await connect(simulator) for _ in range(50)]
        for wire in wires:
            wire.send(CHAT, chat_body(stream=True))
        await eventually(lambda expected=50 * batch: stats.started == expected)
        for wire in wires:
            await wire.close()
    await eventually(lambda: stats.snapshot()["requests"]["aborted"] == 1000)
    assert stats.snapshot()["requests"]["in_flight"] == 0


async def test_a_reset_in_the_body_comes_after_all_that_was_written(simulate, connect, chat_body) -> None:
    simulator = await simulate(Fault(FaultKind.RESET_IN_BODY, events=3, size_bytes=1), generic_tokens=50)
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True))
    assert await wire.until(b'"content":" is"')
    with pytest.raises(ConnectionResetError):
        await wire.rest()


async def test_a_reset_in_the_head(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(Fault(FaultKind.RESET_IN_HEAD)))
    wire.send(CHAT, chat_body())
    assert await wire.until(b"OK\r\n") == b"HTTP/1.1 200 OK\r\n"
    with pytest.raises(ConnectionResetError):
        await wire.rest()


async def test_a_used_connection_may_be_stale(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(Fault(FaultKind.STALE)))
    wire.send(CHAT, chat_body())
    assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    wire.send(CHAT, chat_body())
    with pytest.raises(ConnectionResetError):
        await wire.rest()


async def test_a_connection_closed_after_its_answer(simulate, connect, chat_body) -> None:
    simulator = await simulate(Fault(FaultKind.CLOSE_AFTER))
    wire = await connect(simulator)
    wire.send(CHAT, chat_body(stream=True))
    found = await wire.rest()
    assert found.endswith(b"0\r\n\r\n")
    assert b"connection: close" not in found
    assert simulator.partner.stats.snapshot()["requests"]["completed"] == 1


async def test_bytes_that_are_dripped_add_up(simulate, connect, chat_body) -> None:
    wire = await connect(await simulate(Fault(FaultKind.DRIP, gap_s=0.0001), generic_tokens=2))
    wire.send(CHAT, chat_body("[[say:h\u00e9 \U0001f30d]]", stream=True), "connection: close")
    found = await wire.rest()
    assert '"content":"h\u00e9"'.encode() in found
    assert '"content":" \U0001f30d"'.encode() in found
    assert found.endswith(b"0\r\n\r\n")


async def test_requests_are_told_apart_by_connection_and_number(simulate, connect, chat_body) -> None:
    simulator = await simulate()
    for identifiers in (("a", "b"), ("c",)):
        wire = await connect(simulator)
        for identifier in identifiers:
            wire.send(CHAT, chat_body(), f"x-request-id: {identifier}", "Accept-Encoding: identity")
            await wire.until(b"\r\n\r\n")
    found = simulator.partner.stats.ledger.last(10)
    assert [(each["identifier"], each["connection"], each["nth"]) for each in found] == [
        ("a", 1, 0),
        ("b", 1, 1),
        ("c", 2, 0),
    ]
    assert ["accept-encoding", "identity"] in found[0]["headers"]
