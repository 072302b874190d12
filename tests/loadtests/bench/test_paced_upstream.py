import http.client
import os
from pathlib import Path

from loadtests.bench import paced_upstream, servers
from loadtests.bench.workloads import paced, stream

CORE = min(os.sched_getaffinity(0))


def test_each_write_is_one_event_and_all_of_them_are_the_stream() -> None:
    first, *between, last = paced_upstream.writes(stream().answer)
    head, _, rest = first.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert last.endswith(b"\n\n\r\n0\r\n\r\n")
    chunks = [rest, *between, last.removesuffix(b"0\r\n\r\n")]
    events = []
    for chunk in chunks:
        size, _, event = chunk.partition(b"\r\n")
        assert int(size, 16) == len(event) - 2
        events.append(event[:-2])
    assert b"".join(events).decode() == stream().answer
    assert len(events) == 67


def test_streams_come_event_by_event_and_again_on_the_same_connection(tmp_path: Path) -> None:
    (port,) = servers.free_ports(1)
    with servers.running(servers.own_upstream("paced", port, CORE, 0.001), tmp_path, paced()):
        caller = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(2):
            caller.request("POST", "/v1/chat/completions", paced().body("u"))
            assert caller.getresponse().read().decode() == stream().answer
        caller.request("GET", "/health")
        assert caller.getresponse().read() == b"{}"
        caller.close()
