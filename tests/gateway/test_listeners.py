"""The ports: opened once, refused when in use, shared among workers."""

import select
import socket

import pytest

from gateway.listeners import Listeners, url_of
from gateway.settings import Settings, parse
from gateway.start_error import StartError


def settings(server_port: int = 0, admin_port: int = 0, host: str = "127.0.0.1", workers: int = 1) -> Settings:
    server = {"port": server_port, "host": host, "workers": workers}
    return parse({"server": server, "admin": {"port": admin_port, "host": host}}, source="test")


@pytest.fixture
def listen(stack):
    """Open both ports; closed at the end of the test."""

    def make(given: Settings) -> Listeners:
        listeners = Listeners(given)
        stack.callback(listeners.close)
        return listeners

    return make


async def test_both_ports_are_opened(listen) -> None:
    listeners = listen(settings())
    ports = {each.getsockname()[1] for each in (*listeners.public, listeners.admin)}
    assert len(ports) == 2
    assert 0 not in ports
    assert url_of(listeners.admin) == f"http://127.0.0.1:{listeners.admin.getsockname()[1]}"


@pytest.mark.parametrize("section", ["server", "admin"])
def test_a_port_in_use_is_named_and_nothing_stays_open(section: str, recwarn: pytest.WarningsRecorder) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError) as caught:
            Listeners(settings(port, 0) if section == "server" else settings(0, port))
    error = caught.value
    assert f"127.0.0.1:{port}" in error.cause
    assert f"[{section}]" in error.cause
    assert f"[{section}]" in error.hint
    assert error.exit_code != 0
    assert not recwarn.list


async def test_a_second_gateway_on_the_same_port_is_refused(listen) -> None:
    """Both share the port among their own workers; shared between them, each would get a part of the traffic."""
    port = listen(settings(workers=3)).public[0].getsockname()[1]
    with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
        Listeners(settings(port, workers=3))


async def test_a_port_that_was_just_in_use_can_be_opened_again(listen) -> None:
    before = Listeners(settings(workers=2))
    port = before.public[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        before.public[0].accept()[0].close()
    before.close()
    assert listen(settings(port)).public[0].getsockname()[1] == port


async def test_version_6_addresses(listen) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    listeners = listen(settings(host="::1", workers=2))
    assert all(each.family == socket.AF_INET6 for each in listeners.public)
    assert url_of(listeners.public[1]).startswith("http://[::1]:")


def test_the_same_port_twice_is_refused(unused_port: int) -> None:
    with pytest.raises(StartError, match=f"127.0.0.1:{unused_port}"):
        Listeners(settings(unused_port, unused_port))


async def test_every_slot_has_a_socket_on_the_one_port_and_gets_connections(listen) -> None:
    listeners = listen(settings(workers=2))
    listeners.widen(3)
    listeners.widen(1)
    assert len(listeners.public) == 3
    assert len({each.getsockname() for each in listeners.public}) == 1
    for each in listeners.public:
        each.listen()
    callers = [socket.create_connection(listeners.public[0].getsockname()) for _ in range(64)]
    assert all(select.select([each], [], [], 5)[0] for each in listeners.public)
    for each in callers:
        each.close()


async def test_a_slot_nobody_has_ever_accepted_from_gets_no_connections(listen) -> None:
    listeners = listen(settings(workers=2))
    first = listeners.public[0]
    first.settimeout(60)
    for _ in range(64):
        with socket.create_connection(first.getsockname()) as caller:
            accepted, address = first.accept()
            accepted.close()
            assert address == caller.getsockname()
