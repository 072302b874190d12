"""A reply and the bytes of its script; no sockets."""

import pytest

from loadtests.simulator.reply import End, Reply, json_reply, script
from loadtests.simulator.wire import Api


def test_headers_and_role_leave_at_half_the_time_to_first_token_then_each_token_at_its_own(plan_reply) -> None:
    writes = script(plan_reply(), "r").writes
    assert [write.due_s for write in writes] == [0.5, 1.0, 2.0, 3.0]
    assert writes[0].data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"role":"assistant"' in writes[0].data
    assert b"[DONE]" in writes[-1].data
    assert sum(write.pieces for write in writes) == len(plan_reply().pieces) == 6


def test_what_is_due_at_once_is_one_write_of_one_chunk_for_each_event(plan_reply) -> None:
    (write,) = script(plan_reply(times=(0, 0, 0)), "r").writes
    assert write.data.count(b"data: ") == 6
    assert write.data.endswith(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("api", Api)
def test_a_single_body_comes_with_its_length_when_the_last_token_would(plan_reply, api: Api) -> None:
    (write,) = script(plan_reply(api, stream=False), "r").writes
    head, _, body = write.data.partition(b"\r\n\r\n")
    assert write.due_s == 3.0
    assert f"content-length: {len(body)}".encode() in head
    assert b"abc" in body


@pytest.mark.parametrize("api", Api)
def test_every_head_says_simulator_and_names_the_request(plan_reply, wire, api: Api) -> None:
    head = wire(script(plan_reply(api), "req-1"))
    assert b"x-glidepath-simulator: 1\r\n" in head
    assert b"x-request-id: req-1\r\n" in head
    assert b"content-type: text/event-stream" in head


def test_a_client_that_wants_to_close_is_told_so(plan_reply, wire) -> None:
    found = script(plan_reply(), "r", keep_alive=False)
    assert (found.end, found.whole) == (End.CLOSE, True)
    assert b"connection: close" in wire(found)


def test_a_body_up_to_the_connections_end_has_no_other_framing(plan_reply, wire) -> None:
    found = wire(script(plan_reply()._replace(until_eof=True, end=End.CLOSE), "r"))
    assert b"connection: close" in found
    assert b"transfer-encoding" not in found
    assert found.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("status", "line"), [(503, b"503 Service Unavailable"), (529, b"529 Overloaded"), (200, b"200 OK")]
)
def test_the_status_line_has_its_phrase(wire, status: int, line: bytes) -> None:
    assert wire(script(json_reply({}, status=status), "r")).startswith(b"HTTP/1.1 " + line + b"\r\n")


def test_many_headers_all_arrive(wire) -> None:
    headers = tuple((f"x-{number}", "v") for number in range(100))
    assert wire(script(Reply((), headers=headers, length=0), "r")).count(b": v\r\n") == 100


def test_a_reply_without_pieces_is_over_with_its_headers() -> None:
    assert Reply((), 2.0).last_due_s == 2.0
    assert json_reply({}, 1.0).last_due_s == 1.0
    assert json_reply({}).data == b"{}"
