import socket

import pytest

from loadtests.demo.errors import PortTakenError
from loadtests.demo.layout import Ports
from loadtests.demo.ports import check_free, free_ports, is_free

OPTIONS = {"gateway": "--port", "admin": "--admin-port", "vllm": "--vllm-port", "simulator": "--simulator-port"}
OPTIONS |= {"prometheus": "--prometheus-port"}


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports()
    assert len(set(ports)) == len(Ports._fields) == 6
    assert all(is_free(port) for port in ports)
    check_free(ports, OPTIONS)


def test_a_taken_port_is_named_with_the_option_that_moves_it() -> None:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = ports._replace(admin=server.getsockname()[1])
        with pytest.raises(PortTakenError, match=f"port {taken.admin} on 127.0.0.1, meant for admin") as caught:
            check_free(taken, OPTIONS)
        assert "--admin-port" in caught.value.hint
        check_free(taken, OPTIONS, ("gateway", "vllm"))
