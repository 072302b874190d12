"""A port closed for a while, over real sockets."""

import asyncio
import json

import pytest

from loadtests.errors import PortUnavailableError
from loadtests.simulator import Latency, SimulatorConfig, start
from loadtests.simulator.door import Door

CHAT = "/v1/chat/completions"
SLOW = Latency(ttft_median_s=30, ttft_sigma=0, inter_token_median_s=30)


async def told(wire, path: str, body: object) -> None:
    wire.send(path, body)
    head = await wire.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    await wire.reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))


async def refused(simulator) -> bool:
    try:
        _, writer = await asyncio.open_connection(simulator.host, simulator.port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_connections_are_refused_for_a_while_and_then_taken_again(simulate, connect, chat_body) -> None:
    simulator = await simulate()
    wire, used = await connect(simulator), await connect(simulator)
    await told(used, CHAT, chat_body())
    await told(wire, "/simulator/listener", {"refuse_s": 30})
    assert await refused(simulator)
    # An open connection still works, and a later command counts instead of the earlier.
    await told(used, CHAT, chat_body())
    await told(wire, "/simulator/listener", {"refuse_s": 0})
    async with asyncio.timeout(60):
        while await refused(simulator):  # noqa: ASYNC110  the port itself is asked
            await asyncio.sleep(0.005)
    again = await connect(simulator)
    await told(again, CHAT, chat_body())


async def test_a_drop_ends_every_connection_but_the_commands_own(simulate, connect, chat_body, until) -> None:
    simulator = await simulate(latency=SLOW)
    wire, busy = await connect(simulator), await connect(simulator)
    busy.send(CHAT, chat_body())
    await until(lambda: simulator.partner.stats.started == 1)
    await told(wire, "/simulator/listener", {"refuse_s": 30, "drop": True})
    assert await busy.rest() == b""
    wire.send("/simulator/stats", None, "connection: close", method="GET")
    found = json.loads((await wire.rest()).rpartition(b"\r\n\r\n")[2])
    assert found["requests"]["broken"] == 1
    assert found["connections"] == {"open": 1, "total": 2}


async def test_a_control_port_of_its_own_answers_while_the_other_refuses(connect) -> None:
    async with await start(SimulatorConfig(), control_port=0) as simulator:
        assert simulator.control_port != simulator.port
        assert simulator.control_url == f"http://127.0.0.1:{simulator.control_port}"
        for refuse_s in (30, 60):
            reader, writer = await asyncio.open_connection(simulator.host, simulator.control_port)
            body = json.dumps({"refuse_s": refuse_s}).encode()
            writer.write(
                b"POST /simulator/listener HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            writer.close()
            assert await refused(simulator)


async def test_a_port_that_somebody_else_took_meanwhile_is_waited_for(until) -> None:
    door = Door("127.0.0.1", 0, lambda _: asyncio.Protocol())
    await door.open()
    door.refuse(30, drop=False)
    other = Door("127.0.0.1", door.port, lambda _: asyncio.Protocol())
    await other.open()
    door.refuse(0, drop=False)
    with pytest.raises(PortUnavailableError):
        await door.open()
    other.close()
    await until(lambda: door._server is not None)
    door.close()
