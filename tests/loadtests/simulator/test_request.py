from loadtests.simulator.request import Request


def test_a_request_knows_its_headers() -> None:
    request = Request("GET", "/", headers=((b"host", b"h"),))
    assert request.has(b"host")
    assert not request.has(b"accept")
