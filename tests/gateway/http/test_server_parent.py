"""What the protocol relies on in uvicorn's: if its shape changes, this fails before traffic does."""

import ast
import inspect

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.http.incoming import Incoming
from gateway.http.server import RelayProtocol
from gateway.http.turns import Turns

ATTRIBUTES = {
    "config", "app", "loop", "parser", "server_state", "connections", "tasks", "transport", "flow", "pipeline", "scope",
    "headers", "expect_100_continue", "cycle",
}  # fmt: skip
METHODS = {
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "eof_received": [],
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
}
CYCLE_USES = {"response_complete", "disconnected", "message_event", "keep_alive", "more_body", "body"}


@pytest.mark.parametrize(("name", "parameters"), METHODS.items())
def test_the_parent_still_has_the_methods_relied_on(name: str, parameters: list[str]) -> None:
    method = getattr(HttpToolsProtocol, name)
    assert list(inspect.signature(method).parameters)[1:] == parameters


def test_what_is_overridden_is_still_the_parents() -> None:
    own = {name for each in (RelayProtocol, Turns) for name, value in vars(each).items() if inspect.isfunction(value)}
    additions = own - set(METHODS) - {"__init__"}
    assert not [name for name in additions if hasattr(HttpToolsProtocol, name)]


async def test_the_parent_still_has_the_attributes_relied_on(serve, echo) -> None:
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
