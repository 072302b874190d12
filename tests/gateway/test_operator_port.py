import asyncio
import signal
import socket

import httpx2
from fastapi import FastAPI

from gateway.operator_port import OperatorPort


async def test_it_says_when_it_answers_leaves_signals_alone_and_ends(until) -> None:
    app = FastAPI()
    app.get("/here")(lambda: "yes")
    port = OperatorPort(app, keep_alive_s=0.2)
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        serving = asyncio.get_running_loop().create_task(port.serve([listener]))
        async with asyncio.timeout(60):
            await port.listening.wait()
        assert {each: signal.getsignal(each) for each in handlers} == handlers
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/here"
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url)
        assert (answer.status_code, answer.json()) == (200, "yes")
        assert "server" not in answer.headers
        port.should_exit = True
        async with asyncio.timeout(60):
            await serving
    assert {each: signal.getsignal(each) for each in handlers} == handlers
