"""The public port's protocol: relay requests, the parent's requests, and both mixed on one connection."""

import ast
import asyncio
import inspect
import json
from time import perf_counter

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.http.incoming import Incoming, status_line
from gateway.http.server import RelayProtocol

TYPE = b"content-type: text/plain\r\n"
FEED_MAX = 1_024


class Listening:
    """A listener that counts what it is told."""

    def __init__(self) -> None:
        self.gone = self.blocked = self.ready = 0

    def on_caller_gone(self) -> None:
        self.gone += 1

    def on_caller_blocked(self) -> None:
        self.blocked += 1

    def on_caller_ready(self) -> None:
        self.ready += 1


class Accepted(list[Incoming]):
    """An `accept` that keeps each request, with a listener, for the test to answer."""

    def __init__(self) -> None:
        self.listeners: list[Listening] = []

    def __call__(self, incoming: Incoming) -> None:
        incoming.listener = Listening()
        self.listeners.append(incoming.listener)
        self.append(incoming)


def echo(incoming: Incoming) -> None:
    incoming.respond(200, TYPE, incoming.body)


async def describe(scope, receive, send) -> None:
    """An ASGI application that says what it got."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    said = {"path": scope["path"], "method": scope["method"], "body": body.decode(), "headers": headers}
    data = json.dumps(said).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(data))]})
    await send({"type": "http.response.body", "body": data})


async def test_relay_requests_are_accepted_with_operation_headers_and_body(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    caller.post(b'{"a":1}', "X-Some: Thing", path="/v1/completions?x=1")
    caller.post(b"")
    await until(lambda: accepted)
    incoming = accepted[0]
    assert (incoming.operation, incoming.body, incoming.headers[b"x-some"]) == ("text_completion", b'{"a":1}', b"Thing")
    incoming.respond(201, TYPE, b"made")
    answer = await caller.answer()
    assert (answer.status, answer.body, answer.headers["content-type"]) == (201, b"made", "text/plain")


async def test_keep_alive(serve) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    for number in range(20):
        caller.post(b"%d" % number)
        answer = await caller.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"%d" % number, None)
    assert len(gateway.connections) == 1
    assert gateway.state.total_requests == 20


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "connection: close", False),
        ("1.1", "x: y", True),
        ("1.0", "x: y", False),
    ],
)
async def test_who_wants_the_connection_closed_gets_it(serve, version: str, header: str, *, kept: bool) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    caller.send(f"POST /v1/completions HTTP/{version}\r\n{header}\r\ncontent-length: 2\r\n\r\nhi".encode())
    answer = await caller.answer()
    assert (answer.body, answer.headers.get("connection")) == (b"hi", None if kept else "close")
    if kept:
        caller.post(b"again")
        assert (await caller.answer()).body == b"again"
    else:
        assert await caller.rest() == b""


async def test_an_old_client_gets_no_chunks(serve) -> None:
    def stream(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"one ")
        incoming.finish(b"two")

    caller = await (await serve(stream)).caller()
    caller.send(b"POST /v1/completions HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
    status, headers = await caller.head()
    assert (status, headers.get("transfer-encoding")) == (200, None)
    assert await caller.rest() == b"one two"


async def test_a_chunked_upload(serve) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    for part in (b"hello ", b"w\xc3\xb6rld"):
        caller.send(b"%x\r\n%b\r\n" % (len(part), part))
        await caller.writer.drain()
    caller.send(b"0\r\n\r\n")
    assert (await caller.answer()).body == b"hello w\xc3\xb6rld"


async def test_a_request_in_single_bytes(serve) -> None:
    caller = await (await serve(echo)).caller()
    for byte in b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello":
        caller.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await caller.answer()).body == b"hello"


@pytest.mark.parametrize("path", ["/v1/completions", "/other"])
async def test_100_continue(serve, path: str) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(f"POST {path} HTTP/1.1\r\nhost: h\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n".encode())
    status, _ = await caller.head()
    assert status == 100
    caller.send(b"hello")
    answer = await caller.answer()
    assert answer.status == 200
    assert b"hello" in answer.body


async def test_what_is_not_relayed_goes_to_the_application(serve) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(b"PUT /v1/other%20thing?q=1 HTTP/1.1\r\nHost: h\r\nX-Some: Thing\r\ncontent-length: 2\r\n\r\nhi")
    said = (await caller.answer()).json
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/v1/other thing", "hi")
    assert said["headers"] == {"host": "h", "x-some": "Thing", "content-length": "2"}
    caller.get("/v1/chat/completions")
    assert (await caller.answer()).json["method"] == "GET"


async def test_pipelined_requests_of_both_kinds_are_answered_in_order(serve) -> None:
    caller = await (await serve(echo, describe)).caller()
    for round_ in range(5):
        caller.post(b"relay %d a" % round_)
        caller.get(f"/app/{round_}/a")
        caller.get(f"/app/{round_}/b")
        caller.post(b"relay %d b" % round_, path="/v1/completions")
        caller.post(b"relay %d c" % round_)
    got = [await caller.answer() for _ in range(25)]
    shown = [answer.json["path"] if answer.body.startswith(b"{") else answer.body.decode() for answer in got]
    assert shown == [
        text
        for n in range(5)
        for text in (f"relay {n} a", f"/app/{n}/a", f"/app/{n}/b", f"relay {n} b", f"relay {n} c")
    ]


async def test_a_pipelined_request_waits_for_the_answer_before_it(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    caller.post(b"second")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"1")
    accepted[0].send(b"2")
    await caller.head()
    assert [await caller.chunk(), await caller.chunk()] == [b"1", b"2"]
    assert len(accepted) == 1
    accepted[0].finish()
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"done")
    assert await caller.chunk() == b""
    assert (await caller.answer()).body == b"done"


async def test_a_large_body_in_line_arrives_whole_and_once(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    large = b"x" * 900_000
    caller.post(b"first")
    caller.post(large)
    await until(lambda: accepted)
    accepted[0].respond(200, TYPE, b"1")
    await until(lambda: len(accepted) > 1)
    assert accepted[1].body == large
    accepted[1].respond(200, TYPE, b"2")
    assert [(await caller.answer()).body for _ in range(2)] == [b"1", b"2"]
    assert len(accepted) == 2


async def test_a_pipelined_expectation_is_met_in_its_turn(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    caller.post(b"second", "expect: 100-continue")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"1")
    accepted[0].finish(b"2")
    answer = await caller.answer()
    assert (answer.interim, answer.body) == (0, b"12")


async def test_a_head_that_follows_a_large_body_is_not_too_large(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    body = b"x" * 120_000
    caller.send(
        b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n%bPOST /v1/comp" % (len(body), body)
    )
    await until(lambda: accepted)
    accepted[0].respond(200, TYPE, b"1")
    caller.send(b"letions HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
    await until(lambda: len(accepted) == 2 or caller.reader.at_eof())
    assert len(accepted) == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(serve, *, chunked: bool) -> None:
    gateway = await serve(echo, body_max_bytes=FEED_MAX)
    caller = await gateway.caller()
    body = b"x" * (FEED_MAX + 1)
    if chunked:
        caller.send(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        caller.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        caller.post(body)
    answer = await caller.answer()
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert answer.headers["connection"] == "close"
    assert await caller.rest() == b""


async def test_a_body_of_the_largest_size_passes(serve) -> None:
    caller = await (await serve(echo, body_max_bytes=FEED_MAX)).caller()
    caller.post(b"x" * FEED_MAX)
    assert (await caller.answer()).status == 200


async def test_a_body_in_line_that_is_too_large_is_refused_in_its_turn(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted, body_max_bytes=FEED_MAX)).caller()
    caller.post(b"first")
    caller.post(b"x" * (FEED_MAX * 2))
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun ")
    accepted[0].finish(b"ended")
    assert (await caller.answer()).body == b"begun ended"
    assert (await caller.answer()).status == 413
    assert len(accepted) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 800_000,
        b"GET /" + b"y" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["nonsense", "header", "length", "two lengths", "huge header", "huge path", "tls"],
)
async def test_what_is_no_http_gets_an_error_object(serve, request_bytes: bytes) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(request_bytes)
    answer = await caller.answer()
    assert answer.status == 400
    assert answer.error["code"] == "bad_http"
    assert await caller.rest() == b""


async def test_a_body_that_is_no_http_ends_the_connection(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.send(b"POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    await caller.rest()
    await until(lambda: not gateway.connections)
    assert not accepted


async def test_nonsense_behind_a_request_does_not_pose_as_its_answer(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    caller.post(b"first")
    await until(lambda: accepted)
    caller.send(b"nonsense\r\n\r\n")
    assert await caller.rest() == b""
    await until(lambda: accepted.listeners[0].gone)


async def test_an_upgrade_is_ignored_and_the_answer_given(serve) -> None:
    caller = await (await serve(echo)).caller()
    caller.post(b"hello", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAoAAA")
    assert (await caller.answer()).body == b"hello"


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_caller_that_goes_is_noticed(serve, until, how: str, *, begun: bool) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    if begun:
        accepted[0].begin(200, TYPE, b"begun")
        await caller.head()
    if how == "fin":
        await caller.close()
    else:
        caller.reset()
    await until(lambda: accepted.listeners[0].gone == 1)
    assert accepted[0].disconnected
    accepted[0].send(b"to nobody")
    accepted[0].finish()
    accepted[0].respond(200, TYPE, b"to nobody")
    accepted[0].begin(200, TYPE, b"to nobody")
    accepted[0].abort()
    await until(lambda: not gateway.connections)


async def test_a_caller_that_goes_while_another_request_waits_in_line_is_noticed(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.post(b"second")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun")
    await caller.head()
    caller.reset()

    def written_to_nobody() -> bool:
        # While a request waits in line nothing is read, so only writing shows that the caller has gone.
        accepted[0].send(b"more")
        return not gateway.connections

    await until(written_to_nobody)
    assert accepted.listeners[0].gone == 1


async def test_a_caller_that_goes_before_its_request_is_whole_is_never_accepted(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"half", length=100)
    await until(lambda: gateway.connections and gateway.connections[0].cycle)
    await caller.close()
    await until(lambda: not gateway.connections)
    assert not accepted


async def test_a_slow_caller_blocks_and_unblocks_its_listener(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    incoming, listener = accepted[0], accepted.listeners[0]
    incoming.begin(200, TYPE, b"begun")
    sent = 0
    while not listener.blocked:
        incoming.send(b"y" * 65_536)
        sent += 65_536
        await asyncio.sleep(0)
        assert sent < 1 << 28
    assert not listener.ready
    incoming.finish()
    answer = await caller.answer()
    assert len(answer.body) == sent + len(b"begun")


async def test_a_listener_is_told_when_the_caller_reads_on(serve, until) -> None:
    accepted = Accepted()
    caller = await (await serve(accepted)).caller()
    caller.post(b"x")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"z" * (1 << 26))
    await until(lambda: accepted.listeners[0].blocked)
    await caller.head()
    assert len(await caller.chunk()) == 1 << 26
    await until(lambda: accepted.listeners[0].ready == accepted.listeners[0].blocked)


async def test_an_answer_of_known_length_is_not_chunked(serve) -> None:
    def answer_in_parts(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"one", length=9)
        incoming.send(b"two")
        incoming.send(b"")
        incoming.finish(b"end")

    caller = await (await serve(answer_in_parts)).caller()
    caller.post(b"")
    answer = await caller.answer()
    assert (answer.body, answer.headers["content-length"]) == (b"onetwoend", "9")


async def test_an_aborted_answer_can_be_told_from_a_whole_one(serve) -> None:
    def break_off(incoming: Incoming) -> None:
        incoming.begin(200, TYPE, b"begun")
        incoming.abort()
        incoming.finish()

    caller = await (await serve(break_off)).caller()
    caller.post(b"")
    answer = await caller.answer()
    assert (answer.body, answer.whole) == (b"begun", False)


async def test_only_connections_without_work_are_idle(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"1")
    await until(lambda: accepted)
    far = perf_counter() + 1_000
    gateway.connections[0].close_if_idle(far, 75)
    accepted[0].respond(200, TYPE, b"one")
    assert (await caller.answer()).body == b"one"
    gateway.connections[0].close_if_idle(perf_counter() + 10, 75)
    caller.post(b"2")
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"two")
    assert (await caller.answer()).body == b"two"
    gateway.connections[0].close_if_idle(far, 75)
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)


async def test_on_shutdown_a_begun_answer_ends_and_then_the_connection(serve, until) -> None:
    accepted = Accepted()
    gateway = await serve(accepted)
    busy, idle = await gateway.caller(), await gateway.caller()
    busy.post(b"x")
    idle.get("/")
    await idle.answer()
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun ")
    for connection in gateway.connections:
        connection.shutdown()
    assert await idle.rest() == b""
    accepted[0].finish(b"ended")
    assert (await busy.answer()).body == b"begun ended"
    assert await busy.rest() == b""
    await until(lambda: not gateway.connections)


async def test_the_default_headers_are_sent_and_follow_their_change(serve) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    for date in (b"then", b"now"):
        gateway.state.default_headers = [(b"date", date)]
        caller.post(b"")
        assert (await caller.answer()).headers["date"] == date.decode()


def test_status_lines() -> None:
    assert status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert status_line(418) == b"HTTP/1.1 418 \r\n"


ATTRIBUTES = {
    "config", "app", "loop", "parser", "server_state", "connections", "tasks", "transport", "flow", "pipeline", "scope",
    "headers", "expect_100_continue", "cycle", "timeout_keep_alive_task",
}  # fmt: skip
METHODS = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "pause_writing": [],
    "resume_writing": [],
    "on_message_begin": [],
    "on_url": ["url"],
    "on_header": ["name", "value"],
    "on_headers_complete": [],
    "on_body": ["body"],
    "on_message_complete": [],
    "on_response_complete": [],
    "send_400_response": ["msg"],
    "shutdown": [],
    "_start_asgi_task": ["cycle", "app"],
    "_unset_keepalive_if_required": [],
}
CYCLE_USES = {"response_complete", "disconnected", "message_event", "keep_alive", "more_body", "body"}


@pytest.mark.parametrize(("name", "parameters"), METHODS.items())
def test_the_parent_still_has_the_methods_relied_on(name: str, parameters: list[str]) -> None:
    method = getattr(HttpToolsProtocol, name)
    assert list(inspect.signature(method).parameters)[1:] == parameters


def test_what_is_overridden_is_still_the_parents() -> None:
    own = {name for name, value in vars(RelayProtocol).items() if inspect.isfunction(value)}
    additions = own - set(METHODS)
    assert not [name for name in additions if hasattr(HttpToolsProtocol, name)]


async def test_the_parent_still_has_the_attributes_relied_on(serve) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    caller.post(b"")
    await caller.answer()
    connection = gateway.connections[0]
    missing = {name for name in ATTRIBUTES if not hasattr(connection, name)}
    assert not missing
    assert isinstance(connection.flow, FlowControl)
    assert hasattr(connection.flow, "read_paused")
    assert connection.connections is gateway.state.connections


def test_the_parent_asks_no_more_of_a_cycle_than_an_incoming_has() -> None:
    """The parent's own methods read and set these on whatever `self.cycle` is; `Incoming` stands in for its cycle."""
    tree = ast.parse(inspect.getsource(HttpToolsProtocol))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"self.cycle", "existing_cycle"}
    }
    assert used <= CYCLE_USES
    incoming = Incoming(None, "chat", {}, keep_alive=True)
    assert {name for name in CYCLE_USES if not hasattr(incoming, name)} == set()


def test_the_servers_state_is_as_expected() -> None:
    state = ServerState()
    assert (state.total_requests, state.connections, state.tasks, state.default_headers) == (0, set(), set(), [])
    assert "on_response" in inspect.signature(RequestResponseCycle).parameters
