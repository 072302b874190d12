import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.reply import End, Script, Write, script
from loadtests.simulator.segments import CHANGES

HEAD = b"HTTP/1.1 200 OK\r\nserver: glidepath-simulator\r\n\r\n"


def segmented(found: Script, kind: FaultKind, **figures: object) -> Script:
    return CHANGES[kind](found, Fault(kind, **figures))


def sent(found: Script) -> bytes:
    return b"".join(write.data for write in found.writes)


@pytest.mark.parametrize(("kind", "end"), [(FaultKind.RESET_IN_HEAD, End.RESET), (FaultKind.CUT_IN_HEAD, End.CLOSE)])
def test_an_end_within_the_head(plan_reply, kind, end) -> None:
    found = segmented(script(plan_reply(), "r"), kind)
    assert (found.end, found.whole) == (end, False)
    (write,) = found.writes
    assert write.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in write.data
    assert write.pieces == 0


def test_everything_byte_by_byte(plan_reply) -> None:
    whole = script(plan_reply(times=(0, 0, 0)), "r")
    found = segmented(whole, FaultKind.DRIP, gap_s=0.5)
    assert sent(found) == sent(whole)
    assert {len(write.data) for write in found.writes} == {1}
    assert [write.due_s for write in found.writes[:3]] == [0.0, 0.5, 1.0]
    assert sum(write.pieces for write in found.writes) == 6


def test_only_the_head_byte_by_byte_and_the_body_as_much_later(plan_reply) -> None:
    whole = script(plan_reply(), "r")
    found = segmented(whole, FaultKind.DRIP_HEADERS, gap_s=0.5)
    assert sent(found) == sent(whole)
    head = sent(whole).index(b"\r\n\r\n") + 4
    assert {len(write.data) for write in found.writes[:head]} == {1}
    late_s = (head - 1) * 0.5
    assert [write.due_s - late_s for write in found.writes[head:]] == pytest.approx([0.5, 1.0, 2.0, 3.0])


@given(st.integers(0, 40))
def test_a_split_parts_the_body_in_two_at_one_byte(split_at: int) -> None:
    whole = Script((Write(0.0, HEAD + b"0123456789", 1), Write(1.0, b"abcdefghij", 1)), End.KEEP, whole=True)
    found = segmented(whole, FaultKind.SPLIT, split_at=split_at, gap_s=0.25)
    assert sent(found) == sent(whole)
    assert found.writes[0].data == HEAD
    body = found.writes[1:]
    dues = [write.due_s for write in body]
    assert dues == sorted(dues)
    if split_at % 10 and split_at < 20:
        starts = [sum(len(write.data) for write in body[:index]) for index in range(len(body))]
        assert starts == sorted({0, 10, split_at})
        assert dues[starts.index(split_at)] == body[starts.index(split_at) - 1].due_s + 0.25


def test_a_head_alone_can_be_split_too() -> None:
    whole = Script((Write(0.0, HEAD, 0),), End.KEEP, whole=True)
    assert segmented(whole, FaultKind.SPLIT) == whole
